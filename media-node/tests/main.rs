//! Media nodes behind real sockets, used by our own clients.

mod auth;
mod cluster_takeover;
mod drain;
mod hostile;
mod http;
mod internal;
mod late_join;
mod limits;
mod log;
mod origin_loss;
mod publish_play;
mod publisher_restart;
mod relay;
mod restart;
mod slow_viewer;
mod support;
mod takeover;
mod websocket;
