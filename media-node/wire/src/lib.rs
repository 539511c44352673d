//! RTMP, FLV and AMF0 without sockets: bytes in, events and bytes out.
//!
//! Nothing here knows a clock, a task or a log line. A driver owns the socket, feeds what it read and writes what it is
//! given:
//!
//! ```text
//!   socket -> BytesMut -> ServerConnection::receive -> ServerEvent -> the driver
//!   socket <-  Bytes   <- ServerConnection::output  <- accept, reject <- the driver
//! ```
//!
//! Read in this order: [`stream_key`] (what a stream is called), [`media`] (the one media type of the project),
//! [`flv`] and [`relay`] (how media is stored and passed between nodes), [`rtmp`] (the protocol).
//!
//! | standard | where |
//! |---|---|
//! | Adobe's Real Time Messaging Protocol 1.0 | [`rtmp`] |
//! | Adobe Flash Video File Format 10.1, Annex E | [`flv`], [`media`] |
//! | Action Message Format AMF 0 | [`amf0`] |
//! | Enhanced RTMP v2 (veovera) | [`media`], `connect` in [`rtmp`] |
//!
//! What a peer sends is never indexed, never trusted as a size to allocate, and bounded by named constants.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod amf0;
pub mod flv;
pub mod media;
pub mod relay;
pub mod rtmp;
pub mod stream_key;

pub use media::{Codec, MediaKind, Message};
pub use stream_key::{InvalidKey, StreamKey};
