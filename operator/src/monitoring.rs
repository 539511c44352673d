//! Monitoring of the operator itself: metrics, the watchdog behind its liveness probe, and the HTTP port for both.

pub mod metrics;
pub mod server;
pub mod watchdog;
