//! The failure explorer: whole clusters of media nodes in one thread, with a simulated network and clock, and random schedules of
//! kills, power losses, drains, hangs, outages, delays, DNS failures, clocks that jump, clients that are disconnected, encoders and
//! viewers by all protocols, plain and by TLS.
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
//! Always: no viewer receives a message twice, out of order, torn, or of an encoder that was off air; after a gap comes a keyframe, and
//! time never goes back, nor beyond 2^31 ms; no media node buffers more than its windows, and none panics. Once everything is
//! mended, one encoder of each stream is on air, the one with the highest priority, and all viewers see it. Without clients, media
//! nodes hold nothing, and nothing is left of one that stops.
//!
//! Where nothing fails, or only one of several origins: no encoder and no viewer is disconnected, no message is lost, and each comes
//! within few seconds.
//!
//! `cargo test` runs a few schedules. To run others for so many seconds, or one that failed:
//!
//! ```sh
//! EXPLORE_SECONDS=3600 cargo test -p media-node --lib explorer:: -- --nocapture
//! EXPLORE_SEED=17 cargo test -p media-node --lib explorer:: -- --nocapture
//! ```
//!
//! All of a schedule follows from its seed, but for two things that begin with random numbers of the system: the order in which
//! `select!` polls its branches, which only an unstable part of tokio lets one choose, and that of hash maps. So a seed is replayed
//! several times.

mod client;
mod cluster;
mod encoder;
mod host_runtime;
mod http;
mod judge;
mod media;
mod planted;
mod run;
mod schedule;
mod socket;
#[cfg(test)]
mod tests;
mod viewer;
