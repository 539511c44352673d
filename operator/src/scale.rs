//! How many edges a cluster has, and which of them retire: pure functions.

pub mod autoscaler;
pub mod retirement;
