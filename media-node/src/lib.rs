//! placeholder
#[allow(dead_code, reason = "wired in by the node")]
mod origins;
