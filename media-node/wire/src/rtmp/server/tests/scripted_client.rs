//! A client that sends scripted messages and collects the responses.

use super::*;
use crate::rtmp::chunk_reader::{ChunkReader, RawMessage};
use crate::rtmp::chunk_writer::write_message;

/// A client that sends scripted messages and collects the responses.
pub(super) struct ScriptedClient {
    pub(super) server: ServerConnection,
    pub(super) input: BytesMut,
    reader: ChunkReader,
    pub(super) received: BytesMut,
}

impl ScriptedClient {
    /// Returns a client after the handshake.
    pub(super) fn new() -> Self {
        let mut server = ServerConnection::new(ServerSettings::default());
        let mut input = BytesMut::from(&[3; 1 + 2 * 1536][..]);
        assert_eq!(server.receive(&mut input), Ok(None));
        assert_eq!(drain(|| server.output()).len(), 1 + 2 * 1536);
        Self {
            server,
            input,
            reader: ChunkReader::new(1 << 20),
            received: BytesMut::new(),
        }
    }

    /// Returns a client after `connect`.
    pub(super) fn connected() -> Self {
        let mut script = Self::new();
        script.connect(&[("app", "live".into()), ("tcUrl", "rtmp://h/live".into())]);
        script.server.accept_connect();
        script.raw_responses();
        script
    }

    pub(super) fn publishing() -> Self {
        let mut script = Self::connected();
        assert!(matches!(
            script.send_command("publish", 3.0, &["cam".into()])[..],
            [ServerEvent::Publish { .. }]
        ));
        script.server.accept_publish();
        script.raw_responses();
        script
    }

    pub(super) fn playing() -> Self {
        let mut script = Self::connected();
        assert!(matches!(
            script.send_command("play", 3.0, &["cam".into()])[..],
            [ServerEvent::Play { .. }]
        ));
        script.server.accept_play();
        script.raw_responses();
        script
    }

    pub(super) fn connect(&mut self, object: &[(&str, Value)]) -> Vec<ServerEvent> {
        let object = object
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let payload = command::encode("connect", 1.0, &[Value::Object(object)]);
        self.send_message(message::COMMAND, &payload)
    }

    /// Sends a command without an object, with these arguments.
    pub(super) fn send_command(
        &mut self,
        name: &str,
        transaction: f64,
        arguments: &[Value],
    ) -> Vec<ServerEvent> {
        let values = [&[Value::Null], arguments].concat();
        self.send_message(
            message::COMMAND,
            &command::encode(name, transaction, &values),
        )
    }

    pub(super) fn send_message(&mut self, message_type: u8, payload: &[u8]) -> Vec<ServerEvent> {
        self.try_send_message(message_type, payload).unwrap()
    }

    pub(super) fn try_send_message(
        &mut self,
        message_type: u8,
        payload: &[u8],
    ) -> Result<Vec<ServerEvent>, RtmpError> {
        write_message(&mut self.input, (3, message_type, 1), 0, payload, 128);
        let mut events = Vec::new();
        while let Some(event) = self.server.receive(&mut self.input)? {
            events.push(event);
        }
        Ok(events)
    }

    pub(super) fn raw_responses(&mut self) -> Vec<RawMessage> {
        self.received
            .extend_from_slice(&drain(|| self.server.output()));
        let mut responses = Vec::new();
        while let Some(message) = self.reader.receive(&mut self.received).unwrap() {
            responses.push(message);
        }
        responses
    }

    /// Returns a summary of each response: a command's name and code or last value, a control message's type and numbers.
    pub(super) fn responses(&mut self) -> Vec<String> {
        self.raw_responses().iter().map(summary).collect()
    }
}

pub(super) fn summary(message: &RawMessage) -> String {
    if !matches!(message.message_type, message::COMMAND | message::DATA) {
        return format!("{} {:02x?}", message.message_type, &message.payload[..]);
    }
    let values = amf0::decode_all(&message.payload).unwrap();
    let name = values[0].as_str().unwrap();
    let last = values.last().unwrap();
    let code = last.property("code").and_then(Value::as_str);
    code.map_or_else(
        || format!("{name} {last:?}"),
        |code| format!("{name} {code}"),
    )
}

pub(super) fn stream_event(event: u8) -> String {
    format!("4 [00, {event:02x}, 00, 00, 00, 01]")
}

/// Returns the event of the connected client's publish request.
pub(super) fn publish() -> ServerEvent {
    ServerEvent::Publish {
        app: "live".to_owned(),
        tc_url: "rtmp://h/live".to_owned(),
        stream: "cam".to_owned(),
    }
}
