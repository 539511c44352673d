//! RTMP: handshake, chunks, messages, commands, and the two sides of a connection.
//!
//! ```text
//!   bytes -> handshake -> chunk_reader -> message -> command -> server | client -> events
//!   bytes <-------------- chunk_writer <---------------------- server | client <- answers
//! ```
//!
//! A connection carries one stream at a time, published or played, always on message stream 1. It may be used again
//! when that stream has ended.

pub mod chunk_reader;
pub mod chunk_writer;
pub mod client;
mod command;
mod connection;
pub mod handshake;
mod message;
mod metadata;
pub mod server;
mod url;

use thiserror::Error;

pub use chunk_writer::{
    CHUNK_SIZE, ChunkHeader, continuation_header, message_header, write_media_message,
};
pub use client::{ClientConnection, ClientEvent, ClientSettings, RtmpStatus};
pub use command::CommandError;
pub use server::{PlayRefusal, PublishRefusal, ServerConnection, ServerEvent, ServerSettings};
pub use url::{InvalidUrl, RtmpUrl};

use chunk_reader::ChunkError;
use handshake::HandshakeError;

/// Why a connection cannot go on. The driver sends what is left to send, and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtmpError {
    /// No RTMP.
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    /// Broken or hostile chunks.
    #[error("the chunks cannot be read")]
    Chunk(#[from] ChunkError),
    /// A broken or hostile command.
    #[error("a command cannot be read")]
    Command(#[from] CommandError),
    /// A command out of its order.
    #[error("a command before `connect`, or a second `connect`")]
    OutOfOrder,
    /// The peer asks and asks, and its answers were not taken.
    #[error("{0} bytes of answers wait to be sent")]
    Unsent(usize),
}
