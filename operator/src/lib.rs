//! LiveCluster: a live streaming cluster as a Kubernetes resource, and the operator that runs it.
//!
//! Read in this order: [`crd`] (what a user writes and what the status says), [`node_config`] (what a node is told),
//! then the pure functions of the operator and the loop around them.
//!
//! ```text
//! LiveCluster ──┬── node_config ── local           nodes of this machine, no Kubernetes
//!               └── desired ── apply ── status     Deployments, Services, ... of a cluster
//! ```

pub mod api;
pub mod apply;
pub mod check;
pub mod controller;
pub mod crd;
pub mod desired;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod health;
pub mod leader;
pub mod local;
pub mod metrics;
pub mod node_config;
pub mod observe;
pub mod permissions;
pub mod problem;
pub mod read;
pub mod reconcile;
pub mod rollout;
pub mod run;
pub mod scrape;
pub mod status;
pub mod watchdog;

pub use media_config::Role;
