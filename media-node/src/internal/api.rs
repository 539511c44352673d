//! API of the internal port in JSON: a summary for the operator, the streams, the clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Response, StatusCode};
use media_engine::Stream;
use media_wire::StreamKey;
use serde::Serialize;

use super::context::InternalContext;
use crate::delivery::stream_summary::StreamSummary;
use crate::response::{Body, text};
use crate::state::clients::{Client, ClientKind, ClientRole, StopReason};
use crate::state::phase::Phase;

/// `/api/v1/summary`: totals of a media node. The operator reads them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    name: String,
    role: media_config::Role,
    draining: bool,
    publications: usize,
    streams: usize,
    viewers: usize,
    relays: usize,
    connections: usize,
    egress_bytes: u64,
    ingress_bytes: u64,
    /// Plays that have started since the start of the media node.
    plays: u64,
    media_memory_bytes: usize,
    media_memory_limit_bytes: usize,
    memory_pressure: bool,
}

/// A stream of `/api/v1/streams`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamReport {
    #[serde(flatten)]
    summary: StreamSummary,
    width: Option<u32>,
    height: Option<u32>,
    relays: usize,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
    lags: u64,
    gaps: u64,
}

/// A client of `/api/v1/clients`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientReport {
    id: u64,
    peer: SocketAddr,
    kind: ClientKind,
    role: ClientRole,
    stream: String,
    /// Milliseconds since the Unix epoch.
    since: u64,
    bytes_in: u64,
    bytes_out: u64,
    lags: u64,
    agent: String,
}

pub(super) fn summary(context: &InternalContext) -> Summary {
    let streams = context.registry.streams();
    let states: Vec<_> = streams.iter().map(|stream| stream.state()).collect();
    let readers = || streams.iter().map(|stream| stream.readers());
    let published = states.iter().filter(|state| state.has_encoder());
    let totals = ClientKind::ALL.map(|kind| context.clients.totals(kind));
    let memory = context.registry.memory();
    Summary {
        name: context.name.clone(),
        role: context.role,
        draining: context.phase() != Phase::Running,
        publications: published.count(),
        streams: streams.len(),
        viewers: readers().map(|readers| readers.viewers).sum(),
        relays: readers().map(|readers| readers.relays).sum(),
        connections: context.connections(),
        egress_bytes: totals.iter().map(|totals| totals.sent).sum(),
        ingress_bytes: totals.iter().map(|totals| totals.received).sum(),
        plays: context.metrics.viewers.started_plays(),
        media_memory_bytes: memory.used,
        media_memory_limit_bytes: memory.limit,
        memory_pressure: memory.pressure,
    }
}

/// Returns the streams, sorted by name.
pub(super) fn streams(context: &InternalContext) -> Vec<StreamReport> {
    let mut bytes_out: HashMap<StreamKey, u64> = HashMap::new();
    for client in context.clients.all() {
        *bytes_out.entry(client.stream.clone()).or_default() += client.counters().sent;
    }
    let mut streams = context.registry.streams();
    streams.sort_by(|a, b| a.key().cmp(b.key()));
    let report = |stream: &Arc<Stream>| {
        let stats = stream.stats();
        StreamReport {
            summary: StreamSummary::of(stream),
            width: stats.width,
            height: stats.height,
            relays: stream.readers().relays,
            messages: stats.messages,
            bytes_in: stats.bytes_in,
            bytes_out: bytes_out.get(stream.key()).copied().unwrap_or_default(),
            lags: stats.lags,
            gaps: stats.gaps,
        }
    };
    streams.iter().map(report).collect()
}

/// Returns the clients, the oldest first.
pub(super) fn clients(context: &InternalContext) -> Vec<ClientReport> {
    let report = |client: &Arc<Client>| {
        let counters = client.counters();
        ClientReport {
            id: client.id,
            peer: client.peer,
            kind: client.kind,
            role: client.role,
            stream: client.stream.to_string(),
            since: u64::try_from(client.since.as_millis()).unwrap_or(u64::MAX),
            bytes_in: counters.received,
            bytes_out: counters.sent,
            lags: counters.lags,
            agent: client.agent.to_string(),
        }
    };
    context.clients.all().iter().map(report).collect()
}

/// Disconnects a client.
pub(super) fn disconnect(context: &InternalContext, id: u64) -> Response<Body> {
    match context.clients.find(id) {
        Some(client) => {
            client.stop(StopReason::Kicked);
            text(StatusCode::OK, "disconnected")
        }
        None => text(StatusCode::NOT_FOUND, "no such client"),
    }
}
