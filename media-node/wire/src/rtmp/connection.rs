//! What both sides of a connection do alike: chunks in and out, acknowledgements, pings, aggregates.

use bytes::{Bytes, BytesMut};

use super::RtmpError;
use super::chunk_reader::{ChunkReader, RawMessage};
use super::chunk_writer::{self, COMMAND_CHUNKS, CONTROL_CHUNKS, INITIAL_CHUNK_SIZE};
use super::command::{self, Command};
use super::message::{self, Aggregate};
use crate::amf0::{self, Value};
use crate::{MediaKind, Message};

/// The connection behind its handshake.
#[derive(Debug)]
pub(crate) struct Link {
    reader: ChunkReader,
    aggregate: Option<Aggregate>,
    out: BytesMut,
    /// How much of `out` is answers, not media.
    unsent: usize,
    chunk_size: usize,
    /// All bytes that were taken, modulo 2^32 (5.4.3).
    received: u32,
    acknowledged: u32,
    /// The peer's acknowledgement window, once it has said one.
    window: Option<u32>,
}

/// A message that needs more than an answer by itself.
#[derive(Debug)]
pub(crate) enum Incoming {
    Media(Message),
    Command(Command),
    /// The peer limits our bandwidth to this window.
    PeerBandwidth(u32),
}

/// Bytes of answers that may wait for the driver to take them. A peer that only asks and never reads ends here.
pub(crate) const MAX_UNSENT: usize = 256 * 1024;

/// The smallest window that is obeyed: below it, every few bytes would be answered with sixteen.
const MIN_WINDOW: u32 = 4096;

impl Link {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self {
            reader: ChunkReader::new(max_message_bytes),
            aggregate: None,
            out: BytesMut::new(),
            unsent: 0,
            chunk_size: INITIAL_CHUNK_SIZE,
            received: 0,
            acknowledged: 0,
            window: None,
        }
    }

    /// What is to be sent, and is then forgotten.
    pub(crate) fn output(&mut self) -> Option<Bytes> {
        self.unsent = 0;
        // Not `split`: it would keep the buffer of the handshake for as long as a viewer stays.
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).freeze())
    }

    /// The end of what is to be sent, for the handshake.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Counts bytes that were taken off the input, and acknowledges them when half of the window is reached.
    pub(crate) fn count(&mut self, taken: usize) {
        // The counter wraps by design, so only the low 32 bits matter.
        let low = u32::try_from(taken as u64 & u64::from(u32::MAX)).unwrap_or(0);
        self.received = self.received.wrapping_add(low);
        let new = self.received.wrapping_sub(self.acknowledged);
        if self.window.is_some_and(|window| new >= window / 2) {
            self.acknowledged = self.received;
            self.control(message::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
    }

    #[cfg(test)]
    pub(crate) fn received_in_test(&self) -> u32 {
        self.received
    }

    /// The next message that is not answered here; `None` when more bytes are needed.
    pub(crate) fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, RtmpError> {
        loop {
            if self.unsent > MAX_UNSENT {
                return Err(RtmpError::Unsent(self.unsent));
            }
            if let Some(part) = self.aggregate.as_mut().and_then(Iterator::next) {
                return Ok(Some(Incoming::Media(part)));
            }
            self.aggregate = None;
            let before = input.len();
            let raw = self.reader.receive(input)?;
            self.count(before - input.len());
            let Some(raw) = raw else {
                return Ok(None);
            };
            if let Some(incoming) = self.sort(raw)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn sort(&mut self, raw: RawMessage) -> Result<Option<Incoming>, RtmpError> {
        let RawMessage {
            message_type,
            timestamp,
            payload,
        } = raw;
        let media = |kind, payload| {
            Some(Incoming::Media(Message {
                kind,
                timestamp,
                payload,
            }))
        };
        Ok(match message_type {
            message::AUDIO => media(MediaKind::Audio, payload),
            message::VIDEO => media(MediaKind::Video, payload),
            message::DATA => media(MediaKind::Data, payload),
            message::DATA_AMF3 => media(MediaKind::Data, message::without_amf3_mark(payload)),
            message::COMMAND => Some(Incoming::Command(Command::decode(&payload)?)),
            message::COMMAND_AMF3 => {
                let payload = message::without_amf3_mark(payload);
                Some(Incoming::Command(Command::decode(&payload)?))
            }
            message::AGGREGATE => {
                self.aggregate = Some(Aggregate::new(timestamp, payload));
                None
            }
            message::USER_CONTROL => {
                self.answer_ping(&payload);
                None
            }
            message::WINDOW_ACKNOWLEDGEMENT_SIZE => {
                let window = message::first_u32(&payload).filter(|window| *window > 0);
                self.window = window.map(|window| window.max(MIN_WINDOW));
                None
            }
            message::SET_PEER_BANDWIDTH => {
                message::first_u32(&payload).map(Incoming::PeerBandwidth)
            }
            // Acknowledgements, shared objects, and what nobody knows. Nobody is throttled by what it acknowledges:
            // clients that never do are common.
            _ => None,
        })
    }

    /// Other events are for players of recorded streams, or tell what commands tell as well.
    fn answer_ping(&mut self, payload: &[u8]) {
        if let Some((message::EVENT_PING_REQUEST, number)) = message::user_control(payload) {
            self.send_user_control(message::EVENT_PING_RESPONSE, &[number]);
        }
    }

    /// Sends a protocol control message.
    pub(crate) fn control(&mut self, message_type: u8, payload: &[u8]) {
        self.write((CONTROL_CHUNKS, message_type, 0), payload);
    }

    /// Announces our chunk size and uses it from then on.
    pub(crate) fn set_chunk_size(&mut self) {
        let size = u32::try_from(chunk_writer::CHUNK_SIZE).unwrap_or(u32::MAX);
        self.control(message::SET_CHUNK_SIZE, &size.to_be_bytes());
        self.chunk_size = chunk_writer::CHUNK_SIZE;
    }

    pub(crate) fn send_user_control(&mut self, event: u16, numbers: &[u32]) {
        let mut payload = event.to_be_bytes().to_vec();
        numbers
            .iter()
            .for_each(|number| payload.extend_from_slice(&number.to_be_bytes()));
        self.control(message::USER_CONTROL, &payload);
    }

    /// Sends a command that belongs to the connection.
    pub(crate) fn command(&mut self, name: &str, transaction: f64, values: &[Value]) {
        self.command_on(0, name, transaction, values);
    }

    /// Sends a command that belongs to a message stream.
    pub(crate) fn command_on(
        &mut self,
        stream: u32,
        name: &str,
        transaction: f64,
        values: &[Value],
    ) {
        let payload = command::encode(name, transaction, values);
        self.write((COMMAND_CHUNKS, message::COMMAND, stream), &payload);
    }

    /// Sends a data message on our message stream.
    pub(crate) fn data(&mut self, values: &[Value]) {
        self.media(&Message {
            kind: MediaKind::Data,
            timestamp: 0,
            payload: amf0::encode_all(values).into(),
        });
    }

    /// Sends media. The chunk size must have been announced.
    pub(crate) fn media(&mut self, message: &Message) {
        chunk_writer::write_media_message(
            &mut self.out,
            message.kind,
            message.timestamp,
            &message.payload,
        );
    }

    fn write(&mut self, channel: (u8, u8, u32), payload: &[u8]) {
        let before = self.out.len();
        chunk_writer::write_message(&mut self.out, channel, 0, payload, self.chunk_size);
        self.unsent += self.out.len() - before;
    }
}
