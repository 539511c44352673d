//! RTMP, FLV and AMF0 without sockets: bytes in, events and bytes out.
//!
//! This crate has no clock, no tasks and no log. A driver owns the socket, passes in the bytes that it reads and writes the
//! bytes that it gets:
//!
//! ```text
//!   socket -> BytesMut -> ServerConnection::receive -> ServerEvent -> the driver
//!   socket <-  Bytes   <- ServerConnection::output  <- accept, reject <- the driver
//! ```
//!
//! Read in this order: [`stream_key`] (the name of a stream), [`media`] (the media message), [`flv`] (how media is
//! stored), [`relay`] (how media nodes pass it on), [`rtmp`] (the protocol of encoders and players), [`proxy_protocol`] (what a load
//! balancer sends before it).
//!
//! | standard | where |
//! |---|---|
//! | Adobe's Real Time Messaging Protocol 1.0 | [`rtmp`] |
//! | Adobe Flash Video File Format 10.1, Annex E | [`flv`], [`media`] |
//! | Action Message Format AMF 0 | [`amf0`] |
//! | Enhanced RTMP v2 (veovera) | [`media`], `connect` in [`rtmp`] |
//! | PROXY protocol, versions 1 and 2 (HAProxy) | [`proxy_protocol`] |
//!
//! Bytes of a peer are never indexed, never trusted as a size to allocate, and bounded by named constants.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod amf0;
mod fields;
pub mod flv;
pub mod media;
pub mod proxy_protocol;
pub mod relay;
pub mod rtmp;
pub mod stream_key;

pub use media::{Codec, MediaKind, Message};
pub use stream_key::{InvalidKey, NameLimits, StreamKey};
