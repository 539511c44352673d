//! The operator of LiveCluster: pure functions from a resource to its objects and its status, and the loop around them.
//!
//! ```text
//! LiveCluster ── desired ── apply ── status     Deployments, Services, ... of a cluster
//! ```

pub mod api;
pub mod apply;

pub mod controller;
pub mod desired;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod health;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod permissions;
pub mod problem;
pub mod read;
pub mod reconcile;
pub mod rollout;
pub mod run;
pub mod scrape;
pub mod self_test;
pub mod status;
pub mod watchdog;
