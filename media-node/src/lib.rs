//! placeholder
#[allow(dead_code, reason = "wired in by the node")]
mod origins;
#[allow(dead_code, reason = "wired in by http_play")]
mod player;
