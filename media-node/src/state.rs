//! State of a media node that its connections change and its internal port reports: clients, metrics, phase of life.

pub(crate) mod address_limits;
pub(crate) mod admitted;
pub(crate) mod clients;
pub(crate) mod idle_connections;
pub(crate) mod limits;
pub(crate) mod log_rate;
pub(crate) mod metrics;
pub(crate) mod phase;
pub(crate) mod publisher_addresses;
