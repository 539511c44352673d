//! The failure explorer: whole clusters of media nodes in one thread, with a simulated network and clock, and random schedules of
//! kills, power losses, drains, hangs, outages, delays, DNS failures, encoders and viewers.
//!
//! ```text
//!   schedule   what happens and when, from a seed
//!      │
//!     run      performs it, and checks what must hold
//!      │
//!   cluster  encoder  viewer ── judge     media nodes are the production code, from their ports down to their timers
//!      │
//!   machine    a host with a runtime of its own, whose time passes when the explorer lets it
//!      │
//!   crate::host::simulated                the network
//! ```
//!
//! Always: no viewer receives a message twice, out of order, torn, or of an encoder that was off air; after a gap comes a keyframe, and
//! time never goes back; no media node buffers more than its windows, and none panics. Once everything is mended, one encoder of
//! each stream is on air, and all viewers see it. Without clients, media nodes hold nothing, and nothing is left of one that stops.
//!
//! `cargo test` runs a few schedules. To run others for so many seconds, or one that failed:
//!
//! ```sh
//! EXPLORE_SECONDS=3600 cargo test -p media-node --lib explorer:: -- --nocapture
//! EXPLORE_SEED=17 cargo test -p media-node --lib explorer:: -- --nocapture
//! ```
//!
//! All of a schedule follows from its seed, but for the order in which `select!` polls its branches.

mod client;
mod cluster;
mod encoder;
mod judge;
mod machine;
mod media;
mod planted;
mod run;
mod schedule;
#[cfg(test)]
mod tests;
mod viewer;
