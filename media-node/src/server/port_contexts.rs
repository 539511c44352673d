//! The parts of a media node that each port uses.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::context::NodeContext;
use crate::delivery::finder::StreamFinder;
use crate::http::{HttpContext, StreamList};
use crate::internal::InternalContext;
use crate::rtmp::RtmpContext;
use crate::state::idle_connections::IdleConnections;
use crate::state::log_rate::LogRate;

/// The maximum number of connections of the internal port that carry relays. Those of a thousand streams to a dozen media nodes stay
/// below it.
const MAX_RELAY_CONNECTIONS: usize = 16_384;

/// The maximum number of other connections of the internal port. A probe is answered before so many newer connections could evict it.
const MAX_IDLE_INTERNAL_CONNECTIONS: usize = 1024;

/// The maximum number of connections of the metrics port.
const MAX_METRICS_CONNECTIONS: usize = 64;

/// A media node, and the parts of it that each port uses.
pub(super) struct PortContexts {
    pub(super) node: Arc<NodeContext>,
    pub(super) rtmp: Arc<RtmpContext>,
    pub(super) http: Arc<HttpContext>,
    pub(super) internal: Arc<InternalContext>,
}

impl PortContexts {
    pub(super) fn new(node: Arc<NodeContext>) -> Self {
        let finder = Arc::new(StreamFinder {
            registry: node.registry.clone(),
            relay: node.relay.clone(),
            clients: Arc::clone(&node.clients),
            metrics: Arc::clone(&node.metrics),
            auth: Arc::clone(&node.auth),
            play_wait: node.config.stream.play_wait(),
        });
        Self {
            rtmp: Arc::new(rtmp_context(&node, Arc::clone(&finder))),
            http: Arc::new(http_context(&node, finder)),
            internal: Arc::new(internal_context(&node)),
            node,
        }
    }
}

fn rtmp_context(node: &NodeContext, finder: Arc<StreamFinder>) -> RtmpContext {
    RtmpContext {
        config: Arc::clone(&node.config),
        limits: node.limits.clone(),
        auth: Arc::clone(&node.auth),
        registry: node.registry.clone(),
        relay: node.relay.clone(),
        finder,
        clients: Arc::clone(&node.clients),
        publishers: node.publishers.clone(),
        addresses: node.connections.addresses(),
        idle: Arc::clone(&node.idle),
        metrics: Arc::clone(&node.metrics),
        log_rate: LogRate::default(),
        steady: node.timings.standby_steady,
        last_bytes: node.timings.last_bytes,
    }
}

fn http_context(node: &NodeContext, finder: Arc<StreamFinder>) -> HttpContext {
    HttpContext {
        config: Arc::clone(&node.config),
        limits: node.limits.clone(),
        auth: Arc::clone(&node.auth),
        finder,
        list: StreamList::new(
            node.name.clone(),
            node.registry.clone(),
            node.relay.clone(),
            node.workers.control(),
        ),
        idle: Arc::clone(&node.idle),
        addresses: node.connections.addresses(),
        proxies: Arc::clone(&node.proxies),
        metrics: Arc::clone(&node.metrics),
        log_rate: LogRate::default(),
        phase: node.phase.subscribe(),
    }
}

fn internal_context(node: &NodeContext) -> InternalContext {
    let metrics = &node.metrics;
    InternalContext {
        name: node.name.clone(),
        role: node.config.role,
        limits: node.limits.clone(),
        registry: node.registry.clone(),
        relay: node.relay.clone(),
        clients: Arc::clone(&node.clients),
        metrics: Arc::clone(metrics),
        identity: Arc::clone(&node.identity),
        phase: node.phase.subscribe(),
        connections: node.connections.open(),
        idle: IdleConnections::new(
            MAX_IDLE_INTERNAL_CONNECTIONS,
            metrics.exceedances("internal_connections"),
        ),
        idle_metrics: IdleConnections::new(
            MAX_METRICS_CONNECTIONS,
            metrics.exceedances("metrics_connections"),
        ),
        relay_connections: Arc::new(Semaphore::new(MAX_RELAY_CONNECTIONS)),
        control: node.workers.control(),
        header_timeout: node.timings.internal_header_timeout,
    }
}
