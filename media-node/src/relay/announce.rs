//! Announcing a publication that starts on an origin: the other origins close older ones of the same stream. One that has a newer
//! publication replies with it, and the announced one is closed: an edge that moves to another origin may do so just after a newer
//! encoder was announced there.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{Method, StatusCode};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::client::{empty, json};
use super::context::RelayContext;
use super::protocol::{Parameters, PublicationStatus, SUPERSEDE};

/// Announces a publication to every origin once, and to those that appear later, until the result is dropped.
pub(super) fn start_announcing(
    context: &Arc<RelayContext>,
    key: &StreamKey,
    epoch: Epoch,
) -> DropGuard {
    let ended = CancellationToken::new();
    let (context, key, token) = (Arc::clone(context), key.clone(), ended.clone());
    Arc::clone(&context).spawn(move |_| async move {
        let announcing = announce(&context, &key, epoch);
        token.run_until_cancelled(announcing).await;
    });
    ended.drop_guard()
}

async fn announce(context: &RelayContext, key: &StreamKey, epoch: Epoch) {
    let Some(origins) = &context.origins else {
        return;
    };
    let uri = Parameters {
        epoch: Some(epoch),
        ..Parameters::of(key)
    }
    .uri(SUPERSEDE);
    let mut announced: HashSet<SocketAddr> = HashSet::new();
    let mut pending = FuturesUnordered::new();
    let mut changes = origins.changes();
    loop {
        for origin in changes.borrow_and_update().iter().copied() {
            if announced.insert(origin) {
                pending.push(confirm(context, origin, &uri));
            }
        }
        tokio::select! {
            Some((origin, status)) = pending.next() => match status {
                None => drop(announced.remove(&origin)),
                Some(status) if status.has_encoder() && Epoch(status.epoch) > epoch => {
                    info!(stream = %key, %origin, "another origin has a newer publication");
                    context.registry.supersede(key, Epoch(status.epoch));
                    return;
                }
                Some(_) => {}
            },
            changed = changes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Announces to one origin until it confirms, and returns what it has published after that; `None` if it is no origin any more.
async fn confirm(
    context: &RelayContext,
    origin: SocketAddr,
    uri: &str,
) -> (SocketAddr, Option<PublicationStatus>) {
    let mut backoff = context.backoff();
    while context.current_origins().contains(&origin) {
        let mut before = context.before_attempt();
        if let Some(status) = send(context, origin, uri).await {
            return (origin, Some(status));
        }
        let due = Instant::now() + backoff.next();
        context.attempt_due(due, &mut before).await;
    }
    (origin, None)
}

/// Returns what the origin has published after the announcement, or `None` if it did not confirm.
async fn send(context: &RelayContext, origin: SocketAddr, uri: &str) -> Option<PublicationStatus> {
    let status = async {
        let mut connection = context.connect(origin).await.ok()?;
        let response = connection.send(Method::POST, uri, empty()).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        // A media node of the release before replies with a boolean.
        Some(json(response).await.unwrap_or_default())
    };
    let limit = context.timeouts().conflict.announce;
    timeout(limit, status).await.ok().flatten()
}
