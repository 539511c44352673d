//! RTMP: handshake, chunks, messages, commands, and the two sides of a connection.
//!
//! ```text
//!   bytes -> handshake -> chunk_reader -> message -> command -> server | client -> events
//!   bytes <-------------- chunk_writer <---------------------- server | client <- answers
//! ```
//!
//! A connection has one stream at a time, published or played, always on message stream 1. It can have another one when
//! that stream has ended.

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

pub use chunk_writer::{
    CHUNK_SIZE, ChunkHeader, continuation_header, message_header, write_media_message,
};
pub use client::{ClientConnection, ClientEvent, ClientSettings, RtmpStatus};
pub use command::CommandError;
pub use connection::RtmpError;
pub use message::TooManyParts;
pub use server::{PlayRefusal, PublishRefusal, ServerConnection, ServerEvent, ServerSettings};
pub use url::{InvalidUrl, RtmpUrl};
