//! The failure explorer: whole clusters of media nodes in one thread, with a simulated network and clock, and random schedules of
//! kills, power losses, drains, hangs, outages, also of one direction, delays, firewalls that forget connections, DNS failures, clocks that
//! jump, narrow paths, memory that is short, clients that are disconnected, encoders of one track or two, whose encoding may change, and
//! viewers by all protocols, plain and by TLS, slow ones and those that rest. In some the edges know the origin only as an RTMP server, in
//! others edges of another cluster know these edges so. Viewers may get a slate: a clip, or the last keyframe.
//!
//! ```text
//!   schedule   what happens and when, from a seed
//!      │
//!     run      performs it, and checks what must hold
//!      │
//!   cluster  encoder  viewer ── judge     media nodes are the production code, from their ports down to their timers
//!      │
//!   host_runtime           a host with a runtime of its own, whose time passes when the explorer lets it
//!      │
//!   crate::host::simulated                the network
//! ```
//!
//! Always: no viewer receives a message twice, out of order, torn, or of an encoder that was off air; after a gap comes a keyframe, and time
//! never goes back, nor beyond 2^31 ms, and goes on as the encoder's; sequence headers come when they change, and only then. Of encoders that
//! supersede each other one stays, and viewers see the one with the latest epoch unless it came no more for seconds. No media node buffers more
//! than its windows, and none panics. Once everything is mended, one encoder of each stream is on air, the one with the highest priority, and
//! all viewers see it; who joins then sees what is live, and nothing of a publication that is over. Without clients, media nodes hold nothing
//! and no connection is open, they have the tasks that they started with, and nothing is left of one that stops.
//!
//! What else holds depends on what a schedule lets fail ([`schedule::Hardship`]). Half of the schedules lead straight to what is rare by chance:
//! encoders that take over from each other on media nodes whose clocks differ, the path between an edge and the origin of a stream that fails
//! for about as long as a limit or a window lasts, paths with hardly more room than a stream needs, an origin that is silent, or fails when a
//! publication ends, rolling updates of all origins or of all media nodes. Where nothing fails but DNS, or what a cluster has to bear: no
//! encoder and no viewer is disconnected, no message is lost that a window holds, and each comes within few seconds. Where nothing fails,
//! viewers see the right encoder at all times, and the others know.
//!
//! `cargo test` runs a few schedules. To run others for so many seconds, so many of them from a certain seed on, or one that
//! failed:
//!
//! ```sh
//! export RUSTFLAGS="--cfg tokio_unstable"
//! EXPLORE_SECONDS=3600 cargo test -p media-node --lib --profile explore schedules_of_failures -- --nocapture
//! EXPLORE_COUNT=250 EXPLORE_FROM=1 cargo test -p media-node --lib --profile explore schedules_of_failures -- --nocapture
//! EXPLORE_SEED=17 cargo test -p media-node --lib --profile explore schedules_of_failures -- --nocapture
//! ```
//!
//! The record of a schedule has a line for each thing that the explorer did, and for what encoders and viewers noticed, with the time.
//! The last line with `VIOLATION` says what must not happen. Viewers and media nodes have numbers, origins come first.
//!
//! `EXPLORE_LOG=debug` beside `EXPLORE_SEED` prints what the media nodes log, with the simulated time.
//!
//! All of a schedule follows from its seed: a seed that fails does so again, with the same record. Nothing that a media node does may
//! depend on another thread ([`crate::host::run_blocking`]) or on the order of a hash map. Without the flag, tokio polls the
//! branches of `select!` in a random order, and a seed may have to be replayed several times. Time is simulated: a busy computer takes
//! longer, and finds the same.

mod attempts;
mod client;
mod cluster;
mod encoder;
mod host_runtime;
mod http;
mod judge;
mod media;
#[cfg(test)]
mod node_log;
mod on_air;
mod planted;
mod run;
mod schedule;
mod socket;
#[cfg(test)]
mod tests;
mod viewer;
