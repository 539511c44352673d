//! The part of a connection that is the same on both sides: chunks, acknowledgements, pings, aggregates.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::chunk_reader::{ChunkError, ChunkReader, RawMessage};
use super::chunk_writer::{self, COMMAND_CHUNK_STREAM, CONTROL_CHUNK_STREAM, INITIAL_CHUNK_SIZE};
use super::command::{self, CommandError, RtmpCommand};
use super::handshake::HandshakeError;
use super::message::{self, Aggregate, TooManyParts};
use crate::amf0::{self, Value};
use crate::{MediaKind, Message};

/// A connection, with what its two sides have in common.
#[derive(Debug)]
pub(crate) struct ChunkConnection {
    reader: ChunkReader,
    aggregate: Option<Aggregate>,
    out: BytesMut,
    /// Bytes of responses in `out`, without media.
    unsent: usize,
    chunk_size: usize,
    /// The number of bytes received, modulo 2^32 (5.4.3).
    received: u32,
    acknowledged: u32,
    /// The peer's acknowledgement window, if it has sent one.
    window: Option<u32>,
}

/// A received message that the two sides of a connection treat differently.
#[derive(Debug)]
pub(crate) enum IncomingMessage {
    Media(Message),
    Command(RtmpCommand),
    /// The peer limits our bandwidth to this window.
    PeerBandwidth(u32),
    /// A message that needs nothing more.
    Handled,
}

/// An error after which a connection cannot continue. The driver sends the remaining output and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtmpError {
    /// The peer's first bytes are not an RTMP handshake.
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    /// The chunks are broken or exceed a limit.
    #[error("the chunks cannot be read")]
    Chunk(#[from] ChunkError),
    /// A command is broken or exceeds a limit.
    #[error("a command cannot be read")]
    Command(#[from] CommandError),
    /// An aggregate message exceeds a limit.
    #[error("an aggregate message cannot be read")]
    Aggregate(#[from] TooManyParts),
    /// A command is out of order.
    #[error("a command before `connect`, or a second `connect`")]
    OutOfOrder,
    /// The peer sends requests and does not read the responses.
    #[error("{0} bytes of responses wait to be sent")]
    Unsent(usize),
}

/// The maximum bytes of responses that wait for the driver. It stops a peer that sends requests and never reads.
pub(crate) const MAX_UNSENT: usize = 256 * 1024;

/// The smallest acknowledgement window. With a smaller one, every few bytes would be acknowledged with sixteen.
const MIN_WINDOW: u32 = 4096;

impl ChunkConnection {
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

    /// Changes the maximum length of a message, and of all incomplete messages together.
    pub(crate) fn limit_messages(&mut self, max_message_bytes: usize) {
        self.reader.limit_messages(max_message_bytes);
    }

    /// Returns the bytes of memory that incomplete messages occupy.
    pub(crate) fn reserved(&self) -> usize {
        self.reader.reserved()
    }

    /// Takes the output that waits to be sent.
    pub(crate) fn output(&mut self) -> Option<Bytes> {
        self.unsent = 0;
        // Not `split`, because it would keep the buffer of the handshake as long as the connection.
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).freeze())
    }

    /// Returns the output buffer, for the beginning of a handshake.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Passes received bytes to the handshake, which appends its response to the output. Returns whether it is complete.
    pub(crate) fn continue_handshake(
        &mut self,
        input: &mut BytesMut,
        receive: impl FnOnce(&mut BytesMut, &mut BytesMut) -> Result<bool, HandshakeError>,
    ) -> Result<bool, RtmpError> {
        let before = input.len();
        let is_complete = receive(input, &mut self.out)?;
        self.count(before - input.len());
        Ok(is_complete)
    }

    /// Counts received bytes, and acknowledges them at half of the window.
    pub(crate) fn count(&mut self, taken: usize) {
        // The counter wraps, so only the low 32 bits matter.
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

    /// Returns the next message, or `None` when more bytes are needed.
    pub(crate) fn receive(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<IncomingMessage>, RtmpError> {
        if self.unsent > MAX_UNSENT {
            return Err(RtmpError::Unsent(self.unsent));
        }
        if let Some(aggregate) = &mut self.aggregate
            && let Some(part) = aggregate.receive()?
        {
            return Ok(Some(IncomingMessage::Media(part)));
        }
        self.aggregate = None;
        let before = input.len();
        let raw = self.reader.receive(input)?;
        self.count(before - input.len());
        raw.map(|raw| self.dispatch(raw)).transpose()
    }

    fn dispatch(&mut self, raw: RawMessage) -> Result<IncomingMessage, RtmpError> {
        let RawMessage {
            message_type,
            timestamp,
            payload,
        } = raw;
        let media = |kind, payload| {
            IncomingMessage::Media(Message {
                kind,
                timestamp,
                payload,
            })
        };
        Ok(match message_type {
            message::AUDIO => media(MediaKind::Audio, payload),
            message::VIDEO => media(MediaKind::Video, payload),
            message::DATA => media(MediaKind::Data, payload),
            message::DATA_AMF3 => media(MediaKind::Data, message::without_amf3_marker(payload)),
            message::COMMAND => IncomingMessage::Command(RtmpCommand::decode(&payload)?),
            message::COMMAND_AMF3 => {
                let payload = message::without_amf3_marker(payload);
                IncomingMessage::Command(RtmpCommand::decode(&payload)?)
            }
            message::AGGREGATE => {
                self.aggregate = Some(Aggregate::new(timestamp, payload));
                IncomingMessage::Handled
            }
            message::USER_CONTROL => {
                self.answer_ping(&payload);
                IncomingMessage::Handled
            }
            message::WINDOW_ACKNOWLEDGEMENT_SIZE => {
                let window = message::first_u32(&payload).filter(|window| *window > 0);
                self.window = window.map(|window| window.max(MIN_WINDOW));
                IncomingMessage::Handled
            }
            message::SET_PEER_BANDWIDTH => {
                let window = message::first_u32(&payload);
                window.map_or(IncomingMessage::Handled, IncomingMessage::PeerBandwidth)
            }
            // Acknowledgements, shared objects, unknown types. Acknowledgements do not throttle the output, because many
            // clients never send them.
            _ => IncomingMessage::Handled,
        })
    }

    /// Answers a ping request. Other events are for players of recorded streams, or repeat what commands contain.
    fn answer_ping(&mut self, payload: &[u8]) {
        if let Some((message::EVENT_PING_REQUEST, number)) = message::user_control(payload) {
            self.send_user_control(message::EVENT_PING_RESPONSE, &[number]);
        }
    }

    /// Sends a protocol control message.
    pub(crate) fn control(&mut self, message_type: u8, payload: &[u8]) {
        self.write((CONTROL_CHUNK_STREAM, message_type, 0), payload);
    }

    /// Announces our chunk size, and uses it for all messages after the announcement.
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
        self.write((COMMAND_CHUNK_STREAM, message::COMMAND, stream), &payload);
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
