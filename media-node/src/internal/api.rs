//! What the internal port tells in JSON: a summary for the operator, the streams, the clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Response, StatusCode};
use media_engine::{PublicationSource, Stream, StreamStats};
use media_wire::StreamKey;
use serde::Serialize;

use crate::response::{Body, text};
use crate::server::context::{Phase, Shared};
use crate::state::clients::{Kind, Role, StopReason};

/// A node in numbers, as the operator reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
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
}

/// One stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StreamReport {
    vhost: Option<String>,
    app: String,
    name: String,
    publication: Option<PublicationReport>,
    playable: bool,
    codecs: Vec<String>,
    width: Option<u32>,
    height: Option<u32>,
    viewers: usize,
    relays: usize,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
    skips: u64,
    gaps: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicationReport {
    epoch: u64,
    source: &'static str,
}

/// One client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientReport {
    id: u64,
    peer: SocketAddr,
    kind: Kind,
    role: Role,
    stream: String,
    /// Milliseconds since the Unix epoch.
    since: u64,
    bytes_in: u64,
    bytes_out: u64,
    skips: u64,
    agent: String,
}

pub(crate) fn summary(shared: &Shared) -> Summary {
    let streams = shared.registry.streams();
    let states: Vec<_> = streams.iter().map(|stream| stream.state()).collect();
    let totals: Vec<_> = Kind::ALL.map(|kind| shared.clients.totals(kind)).into();
    Summary {
        name: shared.name.clone(),
        role: shared.config.role,
        draining: shared.phase() != Phase::Running,
        publications: states
            .iter()
            .filter(|state| state.publication.is_some())
            .count(),
        streams: streams.len(),
        viewers: states.iter().map(|state| state.viewers).sum(),
        relays: states.iter().map(|state| state.relays).sum(),
        connections: *shared.connections.open().borrow(),
        egress_bytes: totals.iter().map(|total| total.sent).sum(),
        ingress_bytes: totals.iter().map(|total| total.received).sum(),
    }
}

pub(crate) fn streams(shared: &Shared) -> Vec<StreamReport> {
    let mut sent: HashMap<StreamKey, u64> = HashMap::new();
    for client in shared.clients.all() {
        *sent.entry(client.stream.clone()).or_default() += client.counters().sent;
    }
    let streams = sorted(shared.registry.streams());
    let report = |stream: &Arc<Stream>| {
        let (key, state, stats) = (stream.key(), stream.state(), stream.stats());
        StreamReport {
            vhost: key.vhost().map(str::to_owned),
            app: key.app().to_owned(),
            name: key.name().to_owned(),
            publication: state.publication.map(|publication| PublicationReport {
                epoch: publication.epoch.0,
                source: match publication.source {
                    PublicationSource::Encoder => "encoder",
                    PublicationSource::Forwarded => "forwarded",
                    PublicationSource::Pulled => "pulled",
                },
            }),
            playable: state.playable,
            codecs: codecs(&stats),
            width: stats.width,
            height: stats.height,
            viewers: state.viewers,
            relays: state.relays,
            messages: stats.messages,
            bytes_in: stats.bytes_in,
            bytes_out: sent.get(key).copied().unwrap_or_default(),
            skips: stats.lags,
            gaps: stats.gaps,
        }
    };
    streams.iter().map(report).collect()
}

pub(crate) fn clients(shared: &Shared) -> Vec<ClientReport> {
    let all = shared.clients.all();
    let reports = all.iter().map(|client| {
        let counters = client.counters();
        ClientReport {
            id: client.id,
            peer: client.peer,
            kind: client.kind,
            role: client.role,
            stream: client.stream.to_string(),
            since: milliseconds(client.since),
            bytes_in: counters.received,
            bytes_out: counters.sent,
            skips: counters.skips,
            agent: client.agent.to_string(),
        }
    });
    reports.collect()
}

/// Lets one client go.
pub(crate) fn kick(shared: &Shared, id: u64) -> Response<Body> {
    match shared.clients.find(id) {
        Some(client) => {
            client.stop(StopReason::Kicked);
            text(StatusCode::OK, "let go")
        }
        None => text(StatusCode::NOT_FOUND, "no such client"),
    }
}

/// The codecs by name, video first.
pub(crate) fn codecs(stats: &StreamStats) -> Vec<String> {
    let known = [stats.video, stats.audio].into_iter().flatten();
    known.map(|codec| codec.to_string()).collect()
}

fn sorted(mut streams: Vec<Arc<Stream>>) -> Vec<Arc<Stream>> {
    streams.sort_by(|a, b| a.key().cmp(b.key()));
    streams
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
