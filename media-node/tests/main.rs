//! The node behind real sockets, spoken to by our own client.

mod drain;
mod hostile;
mod http;
mod internal;
mod late_join;
mod limits;
mod publish_play;
mod restart;
mod slow_viewer;
#[cfg(test)]
mod support;
mod takeover;
mod websocket;
