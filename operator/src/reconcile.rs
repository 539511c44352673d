//! Reconciles LiveClusters: makes the objects match the spec, and the status match the objects.
//!
//! [`controller`] decides which cluster is reconciled when, [`reconciler`] does it. [`claim`] decides whether this operator may.

pub mod apply;
pub mod apply_cache;
pub mod autoscaling;
pub mod claim;
pub mod controller;
mod ownership;
mod prune;
pub mod reconciler;
mod reconciliation;
mod requeue;
mod rollout;
pub mod route_watch;
mod scaling;
mod upgrade_queue;
