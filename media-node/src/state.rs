//! The state of a node that its connections change and its internal port reports.

pub(crate) mod clients;
pub(crate) mod metrics;
