//! LiveCluster on the command line: [`local`] runs a LiveCluster without Kubernetes, [`check`] validates manifests.

pub mod check;
pub mod local;
pub mod manifest;
