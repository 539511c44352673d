//! Metrics of streams between media nodes, and of where the origins are.

use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use super::registration::Registration;

/// Seconds of a round trip: within a host, a zone, a continent, and until a request is given up.
const ROUND_TRIP: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.75,
];

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

impl RelayMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        Self {
            pulls: new.gauge("live_relay_pulls", "Streams pulled from other media nodes."),
            forwards: new.gauge("live_relay_forwards", "Streams forwarded to an origin."),
            switches: new.counter(
                "live_relay_switches_total",
                "Relays that continued with another upstream, or again with the same one.",
            ),
            failures: new.counter(
                "live_relay_failures_total",
                "Upstreams lost: the connection failed, timed out or sent invalid data.",
            ),
            reopened: new.counter(
                "live_relay_reopened_total",
                "Relays that stalled while their origin replied, and were opened again with small TCP segments.",
            ),
            round_trip: new.histogram(
                "live_relay_round_trip_seconds",
                "Time to connect to another media node, and until it answers a request that it does not hold.",
                &ROUND_TRIP,
            ),
            stalled: new.seconds(
                "live_relay_stalled_seconds_total",
                "Time for which relays received nothing: pauses of 0.4 seconds or longer.",
            ),
        }
    }

    /// Returns metrics that are not exported.
    #[cfg(test)]
    pub(crate) fn unregistered() -> Self {
        Self::new(&Registration::default())
    }
}

/// Metrics of the origins' addresses.
pub(crate) struct OriginMetrics {
    /// Lookups that failed.
    pub(crate) dns_failures: IntCounter,
    known: IntGauge,
}

impl OriginMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        Self {
            dns_failures: new.counter(
                "live_dns_failures_total",
                "Lookups of the origins that failed: no answer, or an error of the name server.",
            ),
            known: new.gauge("live_origins", "Addresses of origins that are known."),
        }
    }

    pub(super) fn set(&self, known: usize) {
        super::set(&self.known, known);
    }
}
