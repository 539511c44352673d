//! LiveCluster on the command line: [`local`] runs a cluster without Kubernetes.

pub mod local;
