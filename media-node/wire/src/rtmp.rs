//! RTMP: handshake, chunks, messages, commands, and the two sides of a connection.

pub mod chunk_writer;

pub use chunk_writer::{CHUNK_SIZE, ChunkHead, continuation_head, message_head};
