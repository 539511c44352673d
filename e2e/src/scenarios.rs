//! What is proven, one file each. A number such as T2 is that of the test in the operator's test list.

mod minimal_cluster;

use crate::cluster::Scenario;

/// Every scenario, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[Scenario::beside(
    "minimal-cluster",
    "T2: `spec: {}` becomes a ready cluster of exactly the expected objects, and its columns show numbers",
    |stage| Box::pin(minimal_cluster::run(stage)),
)];
