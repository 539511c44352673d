//! A media node: encoders publish to it by RTMP, viewers play from it by RTMP, HTTP-FLV and WebSocket-FLV, and nodes
//! relay streams to each other.
//!
//! ```text
//!   server                      lifecycle, threads, admission, drain
//!   rtmp  http  internal        the three ports
//!   delivery                    finding a stream, the viewer loop
//!   relay                       streams between nodes
//!   discovery                   where the origins are
//!   state  response             what the connections change and the internal port reports
//!  ──────────────────────────────────────────────────────────────────
//!   media-engine                Registry  Stream  log  Cursor
//!   media-wire                  RTMP, FLV, AMF0
//! ```
//!
//! Imports only point down. Read `server/lifecycle.rs` first, then `rtmp/session.rs`, `http/session.rs` and
//! `delivery/viewer.rs`.

mod delivery;
mod discovery;
mod http;
mod internal;
mod relay;
mod response;
mod rtmp;
mod server;
mod state;

pub use media_config::NodeConfig;
pub use server::{Addresses, BindError, Node};
