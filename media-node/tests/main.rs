//! Media nodes behind real sockets, used by our own clients.
//!
//! The modules are marked as tests for clippy, which then allows `unwrap` in their helpers.

mod attacks;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod cluster_takeover;
mod crowd;
mod drain;
mod hostile;
mod hostile_bytes;
mod http;
mod hung_node;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod injection;
mod internal;
mod large_frames;
mod late_join;
mod limits;
#[cfg(test)]
mod live_settings;
mod log;
mod memory;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod origin_loss;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod proxies;
mod publish_play;
mod publisher_restart;
#[cfg(test)]
mod raw_http;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod renewal;
mod restart;
#[cfg(test)]
mod rtmp_origin;
#[cfg(test)]
mod slate;
mod slow_viewer;
mod slow_viewer_on_edge;
#[cfg(test)]
mod standby;
#[cfg(test)]
mod support;
mod takeover;
mod takeover_rounds;
mod timestamps;
#[cfg(test)]
mod tls;
mod websocket;
