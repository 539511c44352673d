//! Metrics of viewers: how their plays begin, and how far they are behind.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntGauge};

use super::registration::Registration;
use crate::counters::{Counters, combinations};
use crate::state::clients::{ClientKind, Clients};

/// Kinds of viewers.
const KINDS: [ClientKind; 3] = [ClientKind::Rtmp, ClientKind::Flv, ClientKind::Ws];

/// Seconds behind live: below a pulse, up to the largest `windowSeconds`.
const LAG: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0];

/// Seconds until the first bytes: a stream that exists, one that is pulled, one that is waited for.
const FIRST_BYTE: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0,
];

/// Metrics of viewers.
pub(crate) struct ViewerMetrics {
    /// Labels `kind`, and `result`: `started`, `not_found`, `full`, `denied`.
    pub(crate) plays: Counters<2>,
    pub(crate) stalled: IntCounter,
    /// Of all viewers, at intervals.
    pub(crate) lag: Histogram,
    first_byte: HistogramVec,
    lags: Counters<1>,
    draining: IntGauge,
}

impl ViewerMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        let kinds = KINDS.map(ClientKind::label);
        let results = ["started", "not_found", "full", "denied"];
        let metrics = Self {
            plays: new.counter_pairs(
                "live_plays_total",
                "Plays by viewers.",
                ["kind", "result"],
                combinations(&kinds, &results),
            ),
            stalled: new.counter(
                "live_viewers_stalled_total",
                "Viewers closed because they accepted no byte for limits.stallTimeoutSeconds, or a batch not within limits.batchTimeoutSeconds.",
            ),
            lag: new.histogram(
                "live_viewer_lag_seconds",
                "Media between the newest message of a stream on this media node and the last one sent to a viewer: \
                 each viewer every 5 seconds.",
                &LAG,
            ),
            first_byte: new.histograms(
                "live_viewer_first_byte_seconds",
                "Time from a viewer's request to the first bytes of its stream.",
                "kind",
                &FIRST_BYTE,
            ),
            lags: new.counters(
                "live_viewer_lags_total",
                "Jumps of lagging viewers to the newest keyframe.",
                "kind",
                &ClientKind::ALL.map(ClientKind::label),
            ),
            draining: new.gauge(
                "live_draining_viewers",
                "Viewers that a draining media node still serves. 0 while it does not drain.",
            ),
        };
        for kind in kinds {
            metrics.first_byte.with_label_values(&[kind]);
        }
        metrics
    }

    /// Returns the plays that have started.
    pub(crate) fn started_plays(&self) -> u64 {
        let started = |kind: ClientKind| self.plays.of([kind.label(), "started"]).get();
        KINDS.into_iter().map(started).sum()
    }

    /// Records that a viewer's first bytes are ready after this time.
    pub(crate) fn started(&self, kind: ClientKind, after: Duration) {
        let first_byte = self.first_byte.with_label_values(&[kind.label()]);
        first_byte.observe(after.as_secs_f64());
    }

    pub(super) fn set(&self, clients: &Clients, viewers: usize, draining: bool) {
        for kind in ClientKind::ALL {
            super::raise(&self.lags.of([kind.label()]), clients.totals(kind).lags);
        }
        super::set(&self.draining, if draining { viewers } else { 0 });
    }
}
