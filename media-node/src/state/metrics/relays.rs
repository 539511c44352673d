//! Metrics of streams between media nodes, and of where the origins are.

use prometheus::{IntCounter, IntGauge};

use super::registration::Registration;
use crate::relay::RelayMetrics;

/// Seconds of a round trip: within a host, a zone, a continent, and until a request is given up.
const ROUND_TRIP: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.75,
];

pub(super) fn relay_metrics(new: &Registration) -> RelayMetrics {
    RelayMetrics {
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
