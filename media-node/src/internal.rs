//! Internal port: probes, metrics, the API, and the relays of other media nodes.

mod api;
mod connection;
mod context;
mod server;

pub(crate) use context::InternalContext;
pub(crate) use server::serve;
