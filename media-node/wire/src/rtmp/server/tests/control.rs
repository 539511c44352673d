//! Pings, acknowledgements and unknown commands.

use super::scripted_client::ScriptedClient;
use super::*;

#[test]
fn unknown_commands_are_answered_only_if_response_is_expected() {
    let mut script = ScriptedClient::connected();
    script.send_command("setPeerInfo", 9.0, &[]);
    assert_eq!(script.responses(), ["_result Undefined"]);
    script.send_command("receiveAudio", 0.0, &[Value::Boolean(true)]);
    script.send_command("_result", 9.0, &[]);
    script.send_command("onStatus", 0.0, &[]);
    assert_eq!(script.responses(), [""; 0]);
}

#[test]
fn driver_has_a_turn_between_many_messages_without_an_event() {
    let mut script = ScriptedClient::publishing();
    // An empty video message, and more of them with the shortest header.
    script
        .input
        .extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, message::VIDEO, 1, 0, 0, 0]);
    script.input.extend_from_slice(&[0xC4; 999]);
    let mut events = Vec::new();
    while let Some(event) = script.server.receive(&mut script.input).unwrap() {
        events.push(event);
    }
    assert_eq!(
        events,
        [0; 1_000 / MAX_SKIPPED].map(|_| ServerEvent::Skipped)
    );
    assert!(script.input.is_empty());
}

#[test]
fn commands_out_of_order_end_connection() {
    let create = command::encode("createStream", 2.0, &[Value::Null]);
    assert_eq!(
        ScriptedClient::new().try_send_message(message::COMMAND, &create),
        Err(RtmpError::OutOfOrder)
    );
    let connect = command::encode("connect", 1.0, &[Value::Null]);
    assert_eq!(
        ScriptedClient::connected().try_send_message(message::COMMAND, &connect),
        Err(RtmpError::OutOfOrder)
    );
}

#[test]
fn ping_is_answered() {
    let mut script = ScriptedClient::connected();
    script.send_message(message::USER_CONTROL, b"\0\x06\x01\x02\x03\x04");
    assert_eq!(script.responses(), ["4 [00, 07, 01, 02, 03, 04]"]);
    script.send_message(message::USER_CONTROL, b"\0\x06\x01");
    assert_eq!(script.responses(), [""; 0], "truncated");
}

#[test]
fn acknowledgement_carries_total_bytes() {
    let mut script = ScriptedClient::publishing();
    script.send_message(message::VIDEO, &[0x17; 100_000]);
    assert_eq!(script.responses(), [""; 0], "the client has sent no window");
    script.send_message(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    let total = script.server.connection.received_in_test();
    assert!(total > 100_000 + 2 * 1536);
    let expected = |total: u32| format!("3 {:02x?}", total.to_be_bytes());
    assert_eq!(script.responses(), [expected(total)]);
    script.send_message(message::VIDEO, &[0x17; 20_000]);
    assert_eq!(script.responses(), [""; 0], "less than half of the window");
    script.send_message(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(
        script.responses(),
        [expected(script.server.connection.received_in_test())]
    );
}

#[test]
fn byte_count_wraps() {
    let mut script = ScriptedClient::publishing();
    script.send_message(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    script.server.connection.count(u32::MAX as usize);
    script.server.connection.count(30_000);
    let before = 1 + 2 * 1536;
    let total = script.server.connection.received_in_test();
    assert!((before..60_000).contains(&total));
    let last = script.responses().pop();
    assert_eq!(last, Some(format!("3 {:02x?}", total.to_be_bytes())));
}

#[test]
fn tiny_window_is_not_acknowledged_per_message() {
    let mut script = ScriptedClient::publishing();
    script.send_message(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &1_u32.to_be_bytes());
    script.raw_responses();
    script.send_message(message::VIDEO, &[0x17; 1000]);
    assert_eq!(script.responses(), [""; 0]);
    script.send_message(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &0_u32.to_be_bytes());
    script.send_message(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(script.responses(), [""; 0], "0 means no window");
}

#[test]
fn client_that_never_reads_responses_is_disconnected() {
    let mut script = ScriptedClient::connected();
    let ping = b"\0\x06\0\0\0\0";
    let refused =
        (0..20_000).find_map(|_| script.try_send_message(message::USER_CONTROL, ping).err());
    assert!(matches!(refused, Some(RtmpError::Unsent(_))));
}
