//! Bytes that no real client sends.

use proptest::prelude::*;

use super::scripted_client::ScriptedClient;
use super::*;
use crate::rtmp::chunk_reader::ChunkError;
use crate::rtmp::chunk_writer::write_message;

fn feed(bytes: &[u8], step: usize) {
    let mut server = ServerConnection::new(ServerSettings::default());
    let mut input = BytesMut::new();
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match server.receive(&mut input) {
                Ok(Some(_)) => {
                    server.accept_connect();
                    server.accept_publish();
                    server.accept_play();
                }
                Ok(None) => break,
                Err(_) => return,
            }
            while server.output().is_some() {}
        }
    }
}

fn after_handshake(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = BytesMut::from(&[3; 1 + 2 * 1536][..]);
    let connect = command::encode("connect", 1.0, &[Value::Null]);
    write_message(&mut bytes, (3, message::COMMAND, 0), 0, &connect, 128);
    for (message_type, payload) in messages {
        write_message(&mut bytes, (3, *message_type, 1), 0, payload, 128);
    }
    bytes.to_vec()
}

fn any_command() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "publish",
        "play",
        "play2",
        "pause",
        "deleteStream",
        "FCPublish",
        "FCUnpublish",
        "seek",
        "connect",
        "x",
    ]);
    let argument = prop_oneof![
        Just(Value::Null),
        Just(Value::Boolean(false)),
        Just(Value::from("cam")),
        Just(Value::from(1.0)),
    ];
    let arguments = prop::collection::vec(argument, 0..4);
    (name, arguments)
        .prop_map(|(name, values)| (message::COMMAND, command::encode(name, 1.0, &values)))
}

#[test]
fn client_that_does_not_publish_has_the_limit_of_commands() {
    let too_long = |limit| {
        let len = limit + 1;
        Err(RtmpError::Chunk(ChunkError::TooLong { len, limit }))
    };
    let settings = ServerSettings::default();
    let media = vec![0; settings.max_command_bytes + 1];
    for mut client in [
        ScriptedClient::new(),
        ScriptedClient::connected(),
        ScriptedClient::playing(),
    ] {
        let sent = client.try_send_message(message::VIDEO, &media);
        assert_eq!(sent, too_long(settings.max_command_bytes));
    }
    let mut publisher = ScriptedClient::publishing();
    assert_eq!(publisher.send_message(message::VIDEO, &media).len(), 1);
    publisher.send_command("deleteStream", 0.0, &[]);
    let sent = publisher.try_send_message(message::VIDEO, &media);
    assert_eq!(sent, too_long(settings.max_command_bytes));
}

#[test]
fn client_that_ends_its_stream_keeps_no_incomplete_message() {
    let mut client = ScriptedClient::publishing();
    let mut video = BytesMut::new();
    write_message(&mut video, (6, message::VIDEO, 1), 0, &[0; 200_000], 128);
    client.input.extend_from_slice(&video[..150_000]);
    // The rest of the chunk that was cut.
    while client.server.receive(&mut client.input).unwrap().is_some() {}
    let rest = video[150_000..].iter().position(|byte| *byte == 0xC6);
    client
        .input
        .extend_from_slice(&video[150_000..150_000 + rest.unwrap()]);
    assert_eq!(
        client.try_send_message(
            message::COMMAND,
            &command::encode("deleteStream", 0.0, &[Value::Null])
        ),
        Err(RtmpError::Chunk(ChunkError::TooMuchPartial(
            ServerSettings::default().max_command_bytes
        )))
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
        step in 1usize..1000,
    ) {
        feed(&bytes, step);
        feed(&[&after_handshake(&[])[..], &bytes].concat(), step);
    }

    #[test]
    fn messages_in_any_order_never_panic(
        messages in prop::collection::vec(
            prop_oneof![any_command(), (any::<u8>(), prop::collection::vec(any::<u8>(), 0..50))],
            0..20,
        ),
        step in 1usize..5000,
    ) {
        feed(&after_handshake(&messages), step);
    }
}
