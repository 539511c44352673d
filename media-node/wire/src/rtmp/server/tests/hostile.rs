//! Bytes that no real client sends.

use proptest::prelude::*;

use super::*;
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
