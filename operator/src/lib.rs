//! LiveCluster: a live streaming cluster as a Kubernetes resource, and the operator that runs it.
//!
//! Read in this order: [`crd`] (what a user writes and what the status says), [`node_config`] (what a node is told),
//! then the pure functions of the operator and the loop around them.
//!
//! ```text
//! LiveCluster ──┬── node_config ── local           nodes of this machine, no Kubernetes
//!               └── desired ── apply ── status     Deployments, Services, ... of a cluster
//! ```

pub mod check;
pub mod crd;
pub mod desired;
pub mod local;
pub mod node_config;

pub use media_config::Role;
