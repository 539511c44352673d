//! The operator of LiveCluster: pure functions from a resource to its objects and its status, and the loop around them.
//!
//! Imports point down only:
//!
//! ```text
//! process       the process: options, leader election, start and stop
//! reconcile     the controller; a reconciliation: apply, scale, prune, update the status
//! status        pure: the status of a LiveCluster
//! scale         pure: the number of edges, which of them take new clients, and which retire
//! observe       the objects that exist, and the streams that the Pods report
//! desired       pure: the objects that a LiveCluster needs
//! k8s           the Kubernetes API
//! monitoring    metrics, watchdog, and the HTTP port that shows them
//! ```
//!
//! Read [`livecluster_api`] first, then [`desired`], [`scale`], [`status`] and [`reconcile`].

pub mod desired;
pub mod k8s;
pub mod monitoring;
pub mod observe;
pub mod process;
pub mod reconcile;
pub mod scale;
pub mod self_test;
pub mod status;
pub mod uninstall_check;
