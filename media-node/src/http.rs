//! Public HTTP port: HTTP-FLV, WebSocket-FLV, the player page and the list of streams.

mod access;
mod body;
mod connection;
mod context;
mod cors;
mod files;
mod forwarded;
mod listing;
mod player_page;
mod request;
mod response;
mod routes;
mod session;
mod viewer;
mod websocket;

pub(crate) use context::HttpContext;
pub(crate) use listing::StreamList;
pub(crate) use session::{refuse, serve};
