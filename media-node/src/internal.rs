//! Internal port: probes, the API, and the relays of other media nodes. The metrics have a port of their own.

mod access;
mod api;
mod connection;
mod context;
mod routes;
mod server;

pub(crate) use context::InternalContext;
pub(crate) use server::{serve, serve_metrics};
