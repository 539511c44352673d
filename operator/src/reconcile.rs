//! Reconciles LiveClusters: makes the objects match the spec, and the status match the objects.

pub mod apply;
pub mod apply_cache;
pub mod controller;
pub mod reconciler;
pub mod rollout;
