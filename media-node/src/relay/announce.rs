//! Announcing a publication that starts on an origin: the other origins close older ones of the same stream. One that has a newer
//! publication replies with it, and the announced one is closed: an edge that moves to another origin may do so just after a newer
//! encoder was announced there.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join_all;
use http::{Method, StatusCode};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{sleep, timeout};
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
    let mut confirmed: HashSet<SocketAddr> = HashSet::new();
    let mut changes = origins.changes();
    let mut backoff = context.backoff();
    loop {
        let set = changes.borrow_and_update().clone();
        let pending: Vec<SocketAddr> = set
            .iter()
            .copied()
            .filter(|origin| !confirmed.contains(origin))
            .collect();
        let requests = pending.iter().map(|origin| send(context, *origin, &uri));
        for (origin, status) in pending.iter().zip(join_all(requests).await) {
            let Some(status) = status else {
                continue;
            };
            confirmed.insert(*origin);
            let newer = Epoch(status.epoch);
            if status.has_encoder() && newer > epoch {
                info!(stream = %key, %origin, "another origin has a newer publication");
                context.registry.supersede(key, newer);
                return;
            }
        }
        if set.iter().all(|origin| confirmed.contains(origin)) {
            if changes.changed().await.is_err() {
                return;
            }
            backoff.reset();
        } else {
            sleep(backoff.next()).await;
        }
    }
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
