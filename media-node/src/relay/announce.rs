//! Announcing a publication that starts on an origin: the other origins close older ones of the same stream.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join_all;
use http::{Method, StatusCode};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::empty;
use super::context::RelayContext;
use super::protocol::{Parameters, SUPERSEDE};

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
        let results = pending.iter().zip(join_all(requests).await);
        confirmed.extend(results.filter(|(_, ok)| *ok).map(|(origin, _)| *origin));
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

/// Returns whether the origin confirmed.
async fn send(context: &RelayContext, origin: SocketAddr, uri: &str) -> bool {
    let response = async {
        let mut connection = context.connect(origin).await?;
        connection.send(Method::POST, uri, empty()).await
    };
    let response = timeout(context.timeouts().conflict.announce, response).await;
    matches!(response, Ok(Ok(response)) if response.status() == StatusCode::OK)
}
