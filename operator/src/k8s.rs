//! The Kubernetes API: clients, permissions and events.

pub mod client;
pub mod event_recorder;
#[cfg(test)]
pub(crate) mod fake_api;
pub mod permissions;
