//! Metrics of the media node itself: its version and process, its threads, its settings, who may publish and play, TLS.

use prometheus::GaugeVec;

use super::registration::Registration;
use crate::auth::{AuthMetrics, Denial};
use crate::counters::{Counters, combinations};
use crate::tls::TlsMetrics;

/// Results of reading a changed file again.
const RELOADS: &[&str] = &["success", "error"];

/// Metrics of threads and settings.
pub(crate) struct NodeMetrics {
    /// Label `worker`: its number.
    pub(crate) worker_busy: GaugeVec,
    /// Label `worker`.
    pub(crate) worker_pulse: GaugeVec,
    /// Label `result`: `success`, `error`.
    pub(crate) settings_reloads: Counters<1>,
}

impl NodeMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        let version = new.gauges(
            "live_build_info",
            "Always 1, labelled by version.",
            &["version"],
        );
        version
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        #[cfg(feature = "process-metrics")]
        new.process();
        Self {
            worker_busy: new.ratios(
                "live_worker_busy_ratio",
                "Share of time in which a worker thread has work, 0 to 1.",
                "worker",
            ),
            worker_pulse: new.ratios(
                "live_worker_pulse_seconds",
                "Time over which a worker thread collects messages into one write for each of its viewers.",
                "worker",
            ),
            settings_reloads: new.counters(
                "live_settings_reloads_total",
                "Changes of the live settings' file: success, or error where the former settings stay.",
                "result",
                RELOADS,
            ),
        }
    }
}

pub(super) fn auth_metrics(new: &Registration) -> AuthMetrics {
    let denials = Denial::ALL.map(Denial::label);
    let results = [&["allowed"][..], &denials].concat();
    AuthMetrics {
        decisions: new.counter_pairs(
            "live_auth_decisions_total",
            "Decisions about clients that publish or play where that is protected: allowed, or the reason.",
            ["action", "result"],
            combinations(&["publish", "play"], &results),
        ),
        lost_hook_calls: new.counter(
            "live_auth_hook_calls_lost_total",
            "Calls of on_unpublish and on_stop that did not reach the hook.",
        ),
    }
}

pub(super) fn tls_metrics(new: &Registration) -> TlsMetrics {
    let failures = [
        "timeout",
        "closed",
        "evicted",
        "not_tls",
        "incompatible",
        "certificate",
        "protocol",
    ];
    TlsMetrics {
        failed_handshakes: new.counters(
            "live_tls_handshakes_failed_total",
            "TLS handshakes that failed.",
            "reason",
            &failures,
        ),
        reloads: new.counters(
            "live_tls_certificate_reloads_total",
            "Changes of the certificate's files: success, or error where the last good certificate stays.",
            "result",
            RELOADS,
        ),
        expiry: new.gauges(
            "live_tls_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate expires. Absent without TLS.",
            &[],
        ),
    }
}
