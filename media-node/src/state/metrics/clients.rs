//! Metrics of encoders and of all clients together: how many there are, and what they send and receive.

use prometheus::IntGaugeVec;

use super::registration::Registration;
use crate::counters::Counters;
use crate::state::clients::{ClientKind, ClientRole, Clients};

/// How a publish begins and ends.
const PUBLISH_EVENTS: &[&str] = &[
    "started",
    "refused",
    "unpublished",
    "closed",
    "idle",
    "superseded",
    "no_standby",
    "bitrate_exceeded",
    "too_many_messages",
    "out_of_memory",
    "too_many_streams",
    "no_origin",
    "protocol_error",
    "init_data_too_long",
    "disconnected",
];

/// Metrics of clients.
pub(crate) struct ClientMetrics {
    /// Label `event`: `started`, `refused`, or how the publish ended.
    pub(crate) publishes: Counters<1>,
    /// Label `reason`: `gone`, `silent`, `priority`.
    pub(crate) standby_switches: Counters<1>,
    clients: IntGaugeVec,
    ingress: Counters<1>,
    egress: Counters<1>,
}

impl ClientMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        let kinds = ClientKind::ALL.map(ClientKind::label);
        Self {
            publishes: new.counters(
                "live_publishes_total",
                "Publishes by encoders: started, refused, and how they ended.",
                "event",
                PUBLISH_EVENTS,
            ),
            standby_switches: new.counters(
                "live_standby_switches_total",
                "Standby encoders that went on air: the one before is gone or silent, or has a lower priority.",
                "reason",
                &["gone", "silent", "priority"],
            ),
            clients: new.gauges(
                "live_clients",
                "Connected publishers and viewers.",
                &["kind", "role"],
            ),
            ingress: new.counters(
                "live_ingress_bytes_total",
                "Bytes received.",
                "kind",
                &kinds,
            ),
            egress: new.counters("live_egress_bytes_total", "Bytes sent.", "kind", &kinds),
        }
    }

    pub(super) fn set(&self, clients: &Clients) {
        let all = clients.all();
        for kind in ClientKind::ALL {
            for role in [ClientRole::Publisher, ClientRole::Viewer] {
                let matching = all
                    .iter()
                    .filter(|client| client.kind == kind && client.role == role);
                let gauge = self
                    .clients
                    .with_label_values(&[kind.label(), role.label()]);
                super::set(&gauge, matching.count());
            }
            let totals = clients.totals(kind);
            super::raise(&self.ingress.of([kind.label()]), totals.received);
            super::raise(&self.egress.of([kind.label()]), totals.sent);
        }
    }
}
