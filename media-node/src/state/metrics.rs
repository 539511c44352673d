//! Every metric of a media node: name, help and labels, one file for each subject. Label values are closed sets, so that every
//! counter exists from the start. A stream's name is a label only where `metrics.streams` is set, because publishers choose it.

mod clients;
mod connections;
mod memory;
mod node;
mod registration;
mod relays;
mod streams;
mod viewers;

use media_config::Limits;
use media_engine::Registry;
use parking_lot::Mutex;
use prometheus::{Encoder, IntCounter, IntGauge, TextEncoder};

use super::clients::Clients;
use crate::auth::AuthMetrics;
use crate::tls::TlsMetrics;

use clients::ClientMetrics;
use connections::ConnectionMetrics;
use memory::MemoryMetrics;
use node::NodeMetrics;
use registration::Registration;
use relays::OriginMetrics;
pub(crate) use relays::RelayMetrics;
use streams::StreamMetrics;
use viewers::ViewerMetrics;

/// Counters that connections increment, and metrics that are set for each scrape.
pub(crate) struct Metrics {
    registry: prometheus::Registry,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) clients: ClientMetrics,
    pub(crate) viewers: ViewerMetrics,
    pub(crate) streams: StreamMetrics,
    pub(crate) relay: RelayMetrics,
    pub(crate) origins: OriginMetrics,
    pub(crate) node: NodeMetrics,
    pub(crate) auth: AuthMetrics,
    pub(crate) tls: TlsMetrics,
    memory: MemoryMetrics,
    draining: IntGauge,
    /// Held for a scrape, so that two scrapes do not raise a counter twice.
    scraping: Mutex<()>,
}

/// Sources of the metrics that are set for each scrape.
pub(crate) struct Scrape<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) clients: &'a Clients,
    pub(crate) limits: &'a Limits,
    /// Open connections of the public ports.
    pub(crate) connections: usize,
    /// Origins that are known.
    pub(crate) origins: usize,
    pub(crate) draining: bool,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let new = Registration::default();
        Self {
            connections: ConnectionMetrics::new(&new),
            clients: ClientMetrics::new(&new),
            viewers: ViewerMetrics::new(&new),
            streams: StreamMetrics::new(&new),
            relay: RelayMetrics::new(&new),
            origins: OriginMetrics::new(&new),
            node: NodeMetrics::new(&new),
            auth: node::auth_metrics(&new),
            tls: node::tls_metrics(&new),
            memory: MemoryMetrics::new(&new),
            draining: new.gauge("live_draining", "1 while the media node drains, else 0."),
            scraping: Mutex::default(),
            registry: new.0,
        }
    }

    /// Counts a client that has exceeded a limit.
    pub(crate) fn exceeded(&self, limit: &'static str) {
        self.exceedances(limit).inc();
    }

    /// Returns the counter of [`Metrics::exceeded`].
    pub(crate) fn exceedances(&self, limit: &'static str) -> IntCounter {
        self.connections.exceeded.of([limit])
    }

    /// Returns all metrics in the text format of Prometheus.
    pub(crate) fn render(&self, scrape: &Scrape<'_>) -> Vec<u8> {
        let _scraping = self.scraping.lock();
        let memory = scrape.registry.memory();
        self.connections
            .set(scrape.connections, scrape.limits, memory.limit);
        self.clients.set(scrape.clients);
        let viewers = scrape.registry.viewers();
        self.viewers.set(scrape.clients, viewers, scrape.draining);
        self.origins.set(scrape.origins);
        self.draining.set(i64::from(scrape.draining));
        self.memory.set(&memory);
        raise(&self.exceedances("media_memory"), memory.refused);
        let of_streams = self.streams.set(&scrape.registry.streams());
        let mut families = self.registry.gather();
        families.extend(of_streams);
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing into memory fails only for a metric without values, and those are not gathered.
        drop(TextEncoder::new().encode(&families, &mut text));
        text
    }
}

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Raises a counter to a total, which never decreases.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
