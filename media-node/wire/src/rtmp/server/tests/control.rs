//! Pings, acknowledgements, and commands that belong nowhere.

use super::script::Script;
use super::*;

#[test]
fn unknown_commands_are_answered_only_if_they_want_it() {
    let mut script = Script::connected();
    script.says("setPeerInfo", 9.0, &[]);
    assert_eq!(script.answers(), ["_result Undefined"]);
    script.says("receiveAudio", 0.0, &[Value::Boolean(true)]);
    script.says("_result", 9.0, &[]);
    script.says("onStatus", 0.0, &[]);
    assert_eq!(script.answers(), [""; 0]);
}

#[test]
fn commands_out_of_their_order_end_the_connection() {
    let create = command::encode("createStream", 2.0, &[Value::Null]);
    assert_eq!(
        Script::new().try_send(message::COMMAND, &create),
        Err(RtmpError::OutOfOrder)
    );
    let connect = command::encode("connect", 1.0, &[Value::Null]);
    assert_eq!(
        Script::connected().try_send(message::COMMAND, &connect),
        Err(RtmpError::OutOfOrder)
    );
}

#[test]
fn a_ping_is_answered() {
    let mut script = Script::connected();
    script.sends(message::USER_CONTROL, b"\0\x06\x01\x02\x03\x04");
    assert_eq!(script.answers(), ["4 [00, 07, 01, 02, 03, 04]"]);
    script.sends(message::USER_CONTROL, b"\0\x06\x01");
    assert_eq!(script.answers(), [""; 0], "cut off");
}

#[test]
fn acknowledgement_carries_total_bytes() {
    let mut script = Script::publishing();
    script.sends(message::VIDEO, &[0x17; 100_000]);
    assert_eq!(script.answers(), [""; 0], "the client has said no window");
    script.sends(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    let total = script.server.link.received_in_test();
    assert!(total > 100_000 + 2 * 1536);
    let expected = |total: u32| format!("3 {:02x?}", total.to_be_bytes());
    assert_eq!(script.answers(), [expected(total)]);
    script.sends(message::VIDEO, &[0x17; 20_000]);
    assert_eq!(script.answers(), [""; 0], "less than half of the window");
    script.sends(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(
        script.answers(),
        [expected(script.server.link.received_in_test())]
    );
}

#[test]
fn the_count_of_bytes_wraps() {
    let mut script = Script::publishing();
    script.sends(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    script.server.link.count(u32::MAX as usize);
    script.server.link.count(30_000);
    let before = 1 + 2 * 1536;
    let total = script.server.link.received_in_test();
    assert!((before..60_000).contains(&total));
    let last = script.answers().pop();
    assert_eq!(last, Some(format!("3 {:02x?}", total.to_be_bytes())));
}

#[test]
fn a_tiny_window_is_not_answered_message_by_message() {
    let mut script = Script::publishing();
    script.sends(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &1_u32.to_be_bytes());
    script.raw_answers();
    script.sends(message::VIDEO, &[0x17; 1000]);
    assert_eq!(script.answers(), [""; 0]);
    script.sends(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &0_u32.to_be_bytes());
    script.sends(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(script.answers(), [""; 0], "0 is none");
}

#[test]
fn a_client_that_only_asks_is_ended() {
    let mut script = Script::connected();
    let ping = b"\0\x06\0\0\0\0";
    let refused = (0..20_000).find_map(|_| script.try_send(message::USER_CONTROL, ping).err());
    assert!(matches!(refused, Some(RtmpError::Unsent(_))));
}
