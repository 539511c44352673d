//! The public HTTP port: HTTP-FLV, WebSocket-FLV, the player page and the list of streams.

pub(crate) mod body;
mod headers;
pub(crate) mod listing;
mod player;
mod requests;
mod session;
mod websocket;

pub(crate) use session::{refuse, serve};
