//! Metrics of the relays.

use prometheus::{Counter, Histogram, IntCounter, IntGauge};

/// Metrics of a media node's relays. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct RelayMetrics {
    /// Streams that are pulled now.
    pub(crate) pulls: IntGauge,
    /// Streams that are forwarded now.
    pub(crate) forwards: IntGauge,
    /// Times that a stream continued from another upstream, or from the same one again.
    pub(crate) switches: IntCounter,
    /// Upstreams that were lost: they disconnected, hung or sent what is no relay stream.
    pub(crate) failures: IntCounter,
    /// Relays whose connection stalled while the origin replied, and that were opened again with small TCP segments.
    pub(crate) reopened: IntCounter,
    /// Seconds of a connect and of a short request.
    pub(crate) round_trip: Histogram,
    /// Seconds of pauses.
    pub(crate) stalled: Counter,
}

/// A relay that counts as active while this lives.
pub(super) struct ActiveRelay(IntGauge);

impl ActiveRelay {
    pub(super) fn new(active: &IntGauge) -> Self {
        active.inc();
        Self(active.clone())
    }
}

impl Drop for ActiveRelay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
impl RelayMetrics {
    /// Returns metrics that are not exported.
    pub(crate) fn unregistered() -> Self {
        let gauge = |name| IntGauge::new(name, "test").unwrap();
        let counter = |name| IntCounter::new(name, "test").unwrap();
        Self {
            pulls: gauge("pulls"),
            forwards: gauge("forwards"),
            switches: counter("switches"),
            failures: counter("failures"),
            reopened: counter("reopened"),
            round_trip: Histogram::with_opts(prometheus::HistogramOpts::new("round_trip", "test"))
                .unwrap(),
            stalled: Counter::new("stalled", "test").unwrap(),
        }
    }
}
