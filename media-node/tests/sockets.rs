//! Media nodes behind real sockets, used by our own clients.
//!
//! `cargo test --workspace --test sockets metrics::` runs those of `metrics.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod attacks;
mod auth;
mod cluster_takeover;
mod crowd;
mod drain;
mod hostile;
mod hostile_bytes;
mod http;
mod hung_node;
mod identity;
mod injection;
mod internal;
mod large_frames;
mod late_join;
mod limits;
mod live_settings;
mod log;
mod memory;
mod metrics;
mod origin_loss;
mod pages;
mod proxies;
mod publish_play;
mod publisher_restart;
mod raw_http;
mod relay;
mod renewal;
mod restart;
mod rtmp_origin;
mod slate;
mod slow_viewer;
mod slow_viewer_on_edge;
mod standby;
mod support;
mod takeover;
mod takeover_rounds;
mod timestamps;
mod tls;
mod websocket;
