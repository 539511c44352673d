//! Every metric of a media node: name, help and labels. Label values are closed sets. A stream's name is never a label,
//! because publishers choose it.

use std::sync::{Mutex, PoisonError};

use media_engine::{MemoryStats, PublicationSource, Registry};
use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
};

use crate::auth::AuthMetrics;
use crate::tls::TlsMetrics;

use super::clients::{ClientKind, ClientRole, Clients};

/// How publishes start and end.
const PUBLISH_EVENTS: [&str; 13] = [
    "bitrate_exceeded",
    "closed",
    "disconnected",
    "idle",
    "init_data_too_long",
    "no_origin",
    "no_standby",
    "out_of_memory",
    "protocol_error",
    "refused",
    "started",
    "superseded",
    "unpublished",
];

/// The limits that clients can exceed.
const LIMITS: [&str; 16] = [
    "chunk_streams",
    "command",
    "idle_connections",
    "incomplete_messages",
    "init_data",
    "internal_connections",
    "lookups",
    "media_memory",
    "message",
    "metrics_connections",
    "names",
    "parameters",
    "publish_bitrate",
    "responses",
    "standbys",
    "stream_starts",
];

/// Counters that connections increment, and metrics that are set for each scrape.
pub(crate) struct Metrics {
    registry: prometheus::Registry,
    /// Label `reason`: `limit`, `address_connections`, `address_rate`, `timeout`, `protocol`, `request`, `origin`,
    /// `proxy_header_missing`, `proxy_header_invalid`, `proxy_header_timeout`, `forwarded_header`.
    pub(crate) refused: IntCounterVec,
    /// Label `limit`: one of [`LIMITS`].
    limits: IntCounterVec,
    /// Label `reason`: `host`, `browser`, `role`, or why the token is not accepted.
    pub(crate) internal_refused: IntCounterVec,
    /// Label `event`: `started`, `refused`, or how the publish ended.
    pub(crate) publishes: IntCounterVec,
    /// Label `reason`: `gone`, `silent`, `priority`.
    pub(crate) standby_switches: IntCounterVec,
    /// Labels `kind`, and `result`: `started`, `not_found`, `full`, `denied`.
    pub(crate) plays: IntCounterVec,
    pub(crate) stalled: IntCounter,
    /// Label `worker`: its number.
    pub(crate) worker_busy: GaugeVec,
    /// Label `worker`.
    pub(crate) worker_pulse: GaugeVec,
    pub(crate) auth: AuthMetrics,
    pub(crate) tls: TlsMetrics,
    /// Locked for a scrape, so that two scrapes do not raise a counter twice.
    scraped: Mutex<ScrapedMetrics>,
}

/// Sources of the metrics that are set for each scrape.
pub(crate) struct Scrape<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) clients: &'a Clients,
    pub(crate) connections: usize,
    pub(crate) draining: bool,
    pub(crate) relay_pulls: u64,
    pub(crate) relay_forwards: u64,
    pub(crate) relay_switches: u64,
    pub(crate) relay_failures: u64,
}

struct ScrapedMetrics {
    connections: IntGauge,
    clients: IntGaugeVec,
    streams: IntGauge,
    publications: IntGauge,
    standbys: IntGauge,
    slates: IntGauge,
    ingress: IntCounterVec,
    egress: IntCounterVec,
    lags: IntCounterVec,
    media_memory: IntGauge,
    media_memory_limit: IntGauge,
    memory_pressure: IntGauge,
    evicted_early: IntCounter,
    draining: IntGauge,
    relay_pulls: IntGauge,
    relay_forwards: IntGauge,
    relay_switches: IntCounter,
    relay_failures: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let new = Registration(prometheus::Registry::new());
        new.gauges(
            "live_build_info",
            "Always 1, labelled by version.",
            &["version"],
        )
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
        #[cfg(feature = "process-metrics")]
        new.process();
        let metrics = Self {
            refused: new.counters(
                "live_connections_refused_total",
                "Connections refused.",
                &["reason"],
            ),
            limits: new.counters(
                "live_limits_exceeded_total",
                "Requests refused and clients disconnected because they exceeded a limit.",
                &["limit"],
            ),
            internal_refused: new.counters(
                "live_internal_requests_refused_total",
                "Requests to the internal and metrics ports that were refused.",
                &["reason"],
            ),
            publishes: new.counters(
                "live_publishes_total",
                "Publishes by encoders: started, refused, and how they ended.",
                &["event"],
            ),
            standby_switches: new.counters(
                "live_standby_switches_total",
                "Standby encoders that went on air: the one before is gone or silent, or has a lower priority.",
                &["reason"],
            ),
            plays: new.counters("live_plays_total", "Plays by viewers.", &["kind", "result"]),
            auth: AuthMetrics {
                decisions: new.counters(
                    "live_auth_decisions_total",
                    "Decisions about clients that publish or play where that is protected: allowed, or the reason.",
                    &["action", "result"],
                ),
                lost_hook_calls: new.counter(
                    "live_auth_hook_calls_lost_total",
                    "Calls of on_unpublish and on_stop that did not reach the hook.",
                ),
            },
            tls: TlsMetrics {
                failed_handshakes: new.counters(
                    "live_tls_handshakes_failed_total",
                    "TLS handshakes that failed.",
                    &["reason"],
                ),
                reloads: new.counters(
                    "live_tls_certificate_reloads_total",
                    "Changes of the certificate's files: success, or error where the last good certificate stays.",
                    &["result"],
                ),
                expiry: new.gauges(
                    "live_tls_certificate_expiry_timestamp_seconds",
                    "Unix time at which the certificate expires. Absent without TLS.",
                    &[],
                ),
            },
            stalled: new.counter(
                "live_viewers_stalled_total",
                "Viewers closed because they accepted no byte for limits.stallTimeoutSeconds, or too few.",
            ),
            worker_busy: new.worker_gauges(
                "live_worker_busy_ratio",
                "Share of time in which a worker thread has work, 0 to 1.",
            ),
            worker_pulse: new.worker_gauges(
                "live_worker_pulse_seconds",
                "Time over which a worker thread collects messages into one write for each of its viewers.",
            ),
            scraped: Mutex::new(ScrapedMetrics::new(&new)),
            registry: new.0,
        };
        // A counter that does not exist is not 0: its first increment would not be a rate.
        for event in PUBLISH_EVENTS {
            metrics.publishes.with_label_values(&[event]);
        }
        for reason in ["gone", "silent", "priority"] {
            metrics.standby_switches.with_label_values(&[reason]);
        }
        for limit in LIMITS {
            metrics.limits.with_label_values(&[limit]);
        }
        for kind in [ClientKind::Rtmp, ClientKind::Flv, ClientKind::Ws] {
            for result in ["started", "not_found", "full", "denied"] {
                metrics.plays.with_label_values(&[kind.label(), result]);
            }
        }
        metrics
    }

    /// Counts a client that has exceeded a limit, one of [`LIMITS`].
    pub(crate) fn exceeded(&self, limit: &'static str) {
        self.exceedances(limit).inc();
    }

    /// Returns the counter of [`Metrics::exceeded`].
    pub(crate) fn exceedances(&self, limit: &'static str) -> IntCounter {
        self.limits.with_label_values(&[limit])
    }

    /// Returns the plays that have started.
    pub(crate) fn started_plays(&self) -> u64 {
        let plays = |kind: ClientKind| {
            let labels = [kind.label(), "started"];
            self.plays.with_label_values(&labels).get()
        };
        ClientKind::ALL.into_iter().map(plays).sum()
    }

    /// Returns all metrics in the text format of Prometheus.
    pub(crate) fn render(&self, scrape: &Scrape<'_>) -> Vec<u8> {
        let scraped = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        scraped.set(scrape);
        raise(
            &self.exceedances("media_memory"),
            scrape.registry.memory().refused,
        );
        let mut text = Vec::with_capacity(8 * 1024);
        // Writing into memory fails only for a metric without values, which is then left out.
        drop(TextEncoder::new().encode(&self.registry.gather(), &mut text));
        text
    }
}

impl ScrapedMetrics {
    fn new(new: &Registration) -> Self {
        Self {
            connections: new.gauge("live_connections", "Open connections of the public ports."),
            clients: new.gauges(
                "live_clients",
                "Connected publishers and viewers.",
                &["kind", "role"],
            ),
            streams: new.gauge("live_streams", "Streams that exist on this media node."),
            publications: new.gauge("live_publications", "Streams that have an encoder."),
            standbys: new.gauge("live_standbys", "Encoders that stand by."),
            slates: new.gauge("live_slates", "Streams that show the slate of this origin."),
            ingress: new.counters("live_ingress_bytes_total", "Bytes received.", &["kind"]),
            egress: new.counters("live_egress_bytes_total", "Bytes sent.", &["kind"]),
            lags: new.counters(
                "live_viewer_lags_total",
                "Jumps of lagging viewers to the newest keyframe.",
                &["kind"],
            ),
            relay_pulls: new.gauge("live_relay_pulls", "Streams pulled from other media nodes."),
            relay_forwards: new.gauge("live_relay_forwards", "Streams forwarded to an origin."),
            relay_switches: new.counter(
                "live_relay_switches_total",
                "Relays that continued with another upstream, or again with the same one.",
            ),
            relay_failures: new.counter(
                "live_relay_failures_total",
                "Upstreams lost: the connection failed, timed out or sent invalid data.",
            ),
            media_memory: new.gauge(
                "live_media_memory_bytes",
                "Memory for media: what all streams buffer, and incomplete messages of publishers.",
            ),
            media_memory_limit: new.gauge(
                "live_media_memory_limit_bytes",
                "Maximum of live_media_memory_bytes, see limits.maxMediaMebibytes.",
            ),
            memory_pressure: new.gauge(
                "live_memory_pressure",
                "1 while streams buffer less than configured, or publishers are refused, because memory is short, else 0.",
            ),
            evicted_early: new.counter(
                "live_segments_evicted_early_total",
                "Segments that streams buffered for less time than configured, because memory was short.",
            ),
            draining: new.gauge("live_draining", "1 while the media node drains, else 0."),
        }
    }

    fn set(&self, scrape: &Scrape<'_>) {
        let streams = scrape.registry.streams();
        let published = streams.iter().filter(|stream| stream.state().has_encoder());
        set(&self.publications, published.count());
        set(&self.streams, streams.len());
        let standbys = streams.iter().map(|stream| stream.standbys());
        set(&self.standbys, standbys.sum());
        let slates = streams.iter().filter(|stream| {
            let publication = stream.state().publication;
            publication.is_some_and(|publication| publication.source == PublicationSource::Slate)
        });
        set(&self.slates, slates.count());
        set(&self.connections, scrape.connections);
        self.draining.set(i64::from(scrape.draining));
        self.set_clients(scrape.clients);
        self.set_memory(&scrape.registry.memory());
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.relay_pulls.set(gauge(scrape.relay_pulls));
        self.relay_forwards.set(gauge(scrape.relay_forwards));
        raise(&self.relay_switches, scrape.relay_switches);
        raise(&self.relay_failures, scrape.relay_failures);
    }

    fn set_memory(&self, memory: &MemoryStats) {
        set(&self.media_memory, memory.used);
        set(&self.media_memory_limit, memory.limit);
        self.memory_pressure.set(i64::from(memory.pressure));
        raise(&self.evicted_early, memory.evicted_early);
    }

    fn set_clients(&self, clients: &Clients) {
        let all = clients.all();
        for kind in ClientKind::ALL {
            for role in [ClientRole::Publisher, ClientRole::Viewer] {
                let matching = all
                    .iter()
                    .filter(|client| client.kind == kind && client.role == role);
                let labels = [kind.label(), role.label()];
                set(&self.clients.with_label_values(&labels), matching.count());
            }
            let totals = clients.totals(kind);
            let label = [kind.label()];
            raise(&self.ingress.with_label_values(&label), totals.received);
            raise(&self.egress.with_label_values(&label), totals.sent);
            raise(&self.lags.with_label_values(&label), totals.lags);
        }
    }
}

/// Creates metrics and registers them.
struct Registration(prometheus::Registry);

impl Registration {
    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect(STATIC))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect(STATIC))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect(STATIC))
    }

    fn worker_gauges(&self, name: &str, help: &str) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), &["worker"]).expect(STATIC))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect(STATIC))
    }

    /// Open files, memory and processor time of the process.
    #[cfg(feature = "process-metrics")]
    fn process(&self) {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.0.register(Box::new(process)).expect(STATIC);
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> C {
        self.0.register(Box::new(metric.clone())).expect(STATIC);
        metric
    }
}

const STATIC: &str = "names are valid and used once";

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Raises a counter to a total, which never decreases.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
