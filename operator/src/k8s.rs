//! The Kubernetes API: clients, the layers that every request passes, permissions, events and the time.

pub mod call_error;
pub mod client;
pub(crate) mod clock;
pub mod event_recorder;
#[cfg(test)]
pub(crate) mod fake_api;
pub mod permissions;
pub(crate) mod refusals;
pub mod request_layer;
pub mod write_fence;
