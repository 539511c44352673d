//! A media node: encoders publish to it by RTMP, viewers play from it by RTMP, HTTP-FLV and WebSocket-FLV, and
//! media nodes relay streams to each other.
//!
//! ```text
//!   server                  lifecycle, worker threads, admission, drain
//!     │
//!   rtmp   http   internal  sessions of the three ports
//!     │      │       │
//!     └── delivery ──┤      finds a stream, writes it to viewers
//!            │       │
//!          relay ────┘      streams between media nodes
//!            │
//!        discovery          addresses of the origins
//!
//!   state, response         clients, metrics and phase of life; HTTP responses: used by the modules above
//!   auth                    who may publish and play: decides for rtmp and delivery
//!   host                    connections, wall clock, random numbers: what tests can simulate
//!   slate                   the clip for streams that wait for an encoder: read once, fed by relay
//!   tls                     certificate and handshakes, under delivery's sockets
//!   proxies, networks       load balancers that are trusted to name their clients
//!   turns                   work at one time that client addresses share
//!   small_file              files of keys, certificates and settings
//!   counters                counters with labels
//!  ──────────────────────────────────────────────────────────────────────────
//!   media-engine            Registry, Stream, log, Cursor
//!   media-wire              RTMP, FLV, AMF0, the relay's format
//!   media-config            the configuration file
//!   media-log               the log, the only place where text of peers is made safe for it
//! ```
//!
//! Imports only point down. To read: `server/lifecycle.rs` (a media node from start to end), `server/admission.rs` (a new
//! connection), `rtmp/session.rs` and `rtmp/publish.rs` (an encoder), `http/session.rs` (a viewer), `delivery/finder.rs` and
//! `delivery/viewer.rs` (from a stream to a socket), `relay.rs` (streams of other media nodes).

mod auth;
mod counters;
mod delivery;
mod discovery;
#[cfg(test)]
mod explorer;
mod host;
mod http;
mod internal;
mod log;
mod networks;
mod proxies;
mod relay;
mod response;
mod rtmp;
mod server;
mod slate;
mod small_file;
mod state;
mod tls;
mod turns;

/// That of the program: with the C library's the failure explorer is slower.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use auth::KeySetTimings;
pub use log::start_log;
pub use media_config::NodeConfig;
pub use media_log::LogLevel;
pub use server::{Addresses, BindError, LiveFile, Node, Timings};
