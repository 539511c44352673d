//! The internal port: probes, metrics, the API, and the other nodes' relays.

pub(crate) mod api;
mod server;

pub(crate) use server::serve;
