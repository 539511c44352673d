//! Reconciles LiveClusters: makes the objects match the spec, and the status match the objects.
//!
//! [`controller`] decides which cluster is reconciled when, [`reconciler`] does it. [`claim`] decides whether this operator may.

pub mod apply;
pub mod apply_cache;
pub mod autoscaling;
pub mod claim;
mod cluster_watch;
pub mod controller;
mod failures;
mod own_writes;
pub mod owner_leases;
mod ownership;
mod partial_statuses;
mod prune;
pub mod reconciler;
mod reconciliation;
mod requeue;
mod rollout;
pub mod route_watch;
mod scaling;
mod service_ports;
mod takeover;
pub mod upgrade_queue;
