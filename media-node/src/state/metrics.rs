//! Every metric of a node: its name, its help and its labels. Label values come from closed sets; a stream's name is
//! never one, because publishers choose it.

use std::sync::Mutex;

use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::relay::RelayCounts;
use crate::server::context::{Phase, Shared};
use crate::state::clients::{Kind, Role};

/// The metrics that are counted where things happen, and those that are filled in when somebody asks.
pub(crate) struct Metrics {
    registry: Registry,
    /// Connections that were refused; label `reason`: `limit`, `slow`, `protocol`, `request`.
    pub(crate) refused: IntCounterVec,
    /// Publishes by encoders; label `event`: `refused`, `started`, and how it ended.
    pub(crate) publishes: IntCounterVec,
    /// Plays; labels `kind` and `result`: `started`, `not_found`, `full`.
    pub(crate) plays: IntCounterVec,
    /// Viewers that took no byte for too long.
    pub(crate) stalled: IntCounter,
    scraped: Mutex<Scraped>,
}

struct Scraped {
    connections: IntGauge,
    clients: IntGaugeVec,
    streams: IntGauge,
    publications: IntGauge,
    ingress: IntCounterVec,
    egress: IntCounterVec,
    skips: IntCounterVec,
    draining: IntGauge,
    relays: Relays,
}

/// What the relays have counted.
struct Relays {
    pulls: IntGauge,
    pushes: IntGauge,
    switches: IntCounter,
    failures: IntCounter,
}

impl Relays {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, IntGauge::new(name, help).expect(STATIC));
        let counter = |name, help| register(registry, IntCounter::new(name, help).expect(STATIC));
        Self {
            pulls: gauge(
                "live_relay_pulls",
                "Streams that are pulled from other nodes.",
            ),
            pushes: gauge(
                "live_relay_pushes",
                "Streams that are forwarded to an origin.",
            ),
            switches: counter(
                "live_relay_switches_total",
                "Streams that went on with another upstream, or again with the same one.",
            ),
            failures: counter(
                "live_relay_failures_total",
                "Upstreams that were lost: they broke, hung or sent nonsense.",
            ),
        }
    }

    fn fill(&self, counts: RelayCounts) {
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.pulls.set(gauge(counts.pulls));
        self.pushes.set(gauge(counts.pushes));
        grow(&self.switches, counts.switches);
        grow(&self.failures, counts.failures);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels).expect(STATIC);
            register(&registry, metric)
        };
        let gauge = |name, help| register(&registry, IntGauge::new(name, help).expect(STATIC));
        let clients = Opts::new("live_clients", "Publishers and viewers that are connected.");
        let stalled = IntCounter::new(
            "live_viewers_stalled_total",
            "Viewers closed because they took no byte for too long.",
        );
        let build = Opts::new("live_build_info", "Always 1; the label is the version.");
        let build = IntGaugeVec::new(build, &["version"]).expect(STATIC);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        register(&registry, build);
        // Open files, memory, processor time: process_*.
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect(STATIC);
        Self {
            refused: counter(
                "live_connections_refused_total",
                "Connections refused.",
                &["reason"],
            ),
            publishes: counter(
                "live_publishes_total",
                "Publishes by encoders: refused, started, and how they ended.",
                &["event"],
            ),
            plays: counter("live_plays_total", "Plays by viewers.", &["kind", "result"]),
            stalled: register(&registry, stalled.expect(STATIC)),
            scraped: Mutex::new(Scraped {
                connections: gauge("live_connections", "Connections of the public ports."),
                clients: register(
                    &registry,
                    IntGaugeVec::new(clients, &["kind", "role"]).expect(STATIC),
                ),
                streams: gauge("live_streams", "Streams that the node knows."),
                publications: gauge("live_publications", "Streams that have a source now."),
                ingress: counter("live_ingress_bytes_total", "Bytes received.", &["kind"]),
                egress: counter("live_egress_bytes_total", "Bytes sent.", &["kind"]),
                skips: counter(
                    "live_viewer_skips_total",
                    "Jumps of slow viewers to the newest keyframe.",
                    &["kind"],
                ),
                relays: Relays::new(&registry),
                draining: gauge("live_draining", "1 from the signal to leave on, else 0."),
            }),
            registry,
        }
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn render(&self, shared: &Shared) -> Vec<u8> {
        let scraped = self
            .scraped
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        scraped.fill(shared);
        let mut text = Vec::with_capacity(8 * 1024);
        // Writing into memory fails only for a metric without values, which is left out then.
        drop(TextEncoder::new().encode(&self.registry.gather(), &mut text));
        text
    }
}

impl Scraped {
    fn fill(&self, shared: &Shared) {
        self.relays.fill(shared.relay.counts());
        set(&self.connections, *shared.connections.open().borrow());
        let streams = shared.registry.streams();
        let published =
            |stream: &&std::sync::Arc<media_engine::Stream>| stream.state().publication.is_some();
        set(&self.publications, streams.iter().filter(published).count());
        set(&self.streams, streams.len());
        self.draining
            .set(i64::from(shared.phase() != Phase::Running));
        let all = shared.clients.all();
        for kind in Kind::ALL {
            for (role, label) in [(Role::Publisher, "publisher"), (Role::Viewer, "viewer")] {
                let here = all
                    .iter()
                    .filter(|client| client.kind == kind && client.role == role);
                set(
                    &self.clients.with_label_values(&[kind.label(), label]),
                    here.count(),
                );
            }
            let totals = shared.clients.totals(kind);
            raise(&self.ingress, kind, totals.received);
            raise(&self.egress, kind, totals.sent);
            raise(&self.skips, kind, totals.skips);
        }
    }
}

const STATIC: &str = "metrics are static and named once";

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect(STATIC);
    metric
}

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Totals only grow, so that the difference is what the counter still lacks.
fn raise(counter: &IntCounterVec, kind: Kind, total: u64) {
    grow(&counter.with_label_values(&[kind.label()]), total);
}

fn grow(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
