//! Metrics of connections: how many there are, which are refused and why, and the limits.

use media_config::Limits;
use media_wire::InvalidKey;
use prometheus::{IntGauge, IntGaugeVec};

use super::registration::Registration;
use crate::counters::Counters;

/// Reasons for which a connection of the public ports is refused or lost.
const REFUSED: &[&str] = &[
    "limit",
    "address_connections",
    "address_rate",
    "timeout",
    "protocol",
    "request",
    "origin",
    "proxy_header_missing",
    "proxy_header_invalid",
    "proxy_header_timeout",
    "forwarded_header",
];

/// Limits that a client can exceed.
const EXCEEDED: &[&str] = &[
    "message",
    "incomplete_messages",
    "chunk_streams",
    "chunk_size",
    "command",
    "aggregate_parts",
    "responses",
    "init_data",
    "init_data_messages",
    "names",
    "parameters",
    "stream_starts",
    "streams",
    "address_streams",
    "origin_streams",
    "idle_connections",
    "internal_connections",
    "metrics_connections",
    "lookups",
    "standbys",
    "media_memory",
    "publish_bitrate",
    "publish_messages",
];

/// Reasons for which a request to the internal or metrics port is refused: those of a token are those of `auth`.
const INTERNAL_REFUSED: &[&str] = &[
    "host",
    "browser",
    "role",
    "no_credential",
    "signature",
    "expired",
    "token",
    "claim",
    "keys_unavailable",
];

/// Metrics of connections.
pub(crate) struct ConnectionMetrics {
    /// Label `reason`.
    pub(crate) refused: Counters<1>,
    /// Label `limit`: a limit of the protocol or the configuration that a client has exceeded.
    pub(crate) exceeded: Counters<1>,
    /// Label `reason`.
    pub(crate) internal_refused: Counters<1>,
    open: IntGauge,
    limits: IntGaugeVec,
}

impl ConnectionMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        Self {
            refused: new.counters(
                "live_connections_refused_total",
                "Connections refused.",
                "reason",
                REFUSED,
            ),
            exceeded: new.counters(
                "live_limits_exceeded_total",
                "Requests refused and clients disconnected because they exceeded a limit.",
                "limit",
                EXCEEDED,
            ),
            internal_refused: new.counters(
                "live_internal_requests_refused_total",
                "Requests to the internal and metrics ports that were refused.",
                "reason",
                INTERNAL_REFUSED,
            ),
            open: new.gauge("live_connections", "Open connections of the public ports."),
            limits: new.gauges(
                "live_limit",
                "Limits of the configuration, by their field. 0 of a maximum is no limit.",
                &["limit"],
            ),
        }
    }

    /// Counts a client whose address exceeds a limit, if the error is that.
    pub(crate) fn count_invalid_key(&self, error: &InvalidKey) {
        let limit = match error {
            InvalidKey::LongNames { .. } | InvalidKey::TooLong { .. } => "names",
            InvalidKey::LongParameters { .. } | InvalidKey::TooManyParameters { .. } => {
                "parameters"
            }
            InvalidKey::Empty(_) | InvalidKey::ControlCharacter(_) | InvalidKey::NotAnFlvPath => {
                return;
            }
        };
        self.exceeded.of([limit]).inc();
    }

    /// `media_bytes` is the maximum memory for media, which follows the container's limit where the configuration has none.
    pub(super) fn set(&self, open: usize, limits: &Limits, media_bytes: usize) {
        super::set(&self.open, open);
        self.limits.reset();
        for (field, value) in limits.by_field() {
            self.limits.with_label_values(&[&field]).set(value.into());
        }
        let media_mebibytes = self.limits.with_label_values(&["maxMediaMebibytes"]);
        super::set(&media_mebibytes, media_bytes >> 20);
    }
}
