//! The node behind real sockets, spoken to by our own client.

#[cfg(test)]
mod auth;
mod drain;
mod hostile;
mod http;
mod internal;
mod late_join;
mod limits;
#[cfg(test)]
mod origin_lost;
mod publish_play;
#[cfg(test)]
mod relay;
mod restart;
mod slow_viewer;
#[cfg(test)]
mod support;
mod takeover;
#[cfg(test)]
mod takeover_cluster;
mod websocket;
