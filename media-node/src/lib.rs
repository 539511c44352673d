//! A media node: encoders publish to it by RTMP, viewers play from it by RTMP, HTTP-FLV and WebSocket-FLV, and nodes
//! relay streams to each other.
//!
//! ```text
//!                    main ── node ── workers
//!   sockets      rtmp_session   http_session   relay   internal   discovery   drain
//!   & process         └──── viewer ────┘         │
//!  ─────────────────────────────┼────────────────┼──────────────────────────────
//!   media-engine  Registry ── Stream ── log ── Cursor
//!  ─────────────────────────────┼───────────────────────────────────────────────
//!   media-wire    ServerConnection  ClientConnection  TagReader  amf0  media
//! ```
//!
//! Arrows only point down; siblings meet in the [`media_engine::Registry`]. Read [`node`](Node) first, then
//! `rtmp_session`, `http_session` and `viewer`.

mod api;
mod clients;
mod connections;
mod discovery;
mod drain;
mod http_body;
mod http_head;
mod http_session;
mod internal;
mod listener;
mod listing;
mod metrics;
mod node;
mod open_files;
mod play;
mod player;
mod relay;
mod rtmp_session;
mod shared;
mod viewer;
mod websocket;
mod workers;

pub use listener::BindError;
pub use media_config::NodeConfig;
pub use node::{Addresses, Node};
