//! An origin tells the others of a publication that began here: older ones there are closed.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use http::{Method, StatusCode};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{sleep, timeout};

use super::client::nothing;
use super::protocol::{Parameters, SUPERSEDE};
use super::{Backoff, Relay};

/// What an origin has to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Tells every origin once, and every one that appears later, until the caller has enough.
pub(super) async fn announce(relay: &Relay, key: &StreamKey, epoch: Epoch) {
    let Some(origins) = relay.origins() else {
        return;
    };
    let uri = Parameters {
        epoch: Some(epoch),
        ..Parameters::of(key)
    }
    .uri(SUPERSEDE);
    let mut told: HashSet<SocketAddr> = HashSet::new();
    let mut changes = origins.changes();
    let mut backoff = Backoff::new();
    loop {
        let set = changes.borrow_and_update().clone();
        let untold: Vec<SocketAddr> = set
            .iter()
            .copied()
            .filter(|one| !told.contains(one))
            .collect();
        let answers = join_all(untold.iter().map(|origin| tell(relay, *origin, &uri))).await;
        let heard = untold.iter().zip(answers).filter(|(_, heard)| *heard);
        told.extend(heard.map(|(origin, _)| *origin));
        if set.iter().all(|origin| told.contains(origin)) {
            if changes.changed().await.is_err() {
                return;
            }
            backoff.reset();
        } else {
            sleep(backoff.next()).await;
        }
    }
}

async fn tell(relay: &Relay, origin: SocketAddr, uri: &str) -> bool {
    let told = async {
        let mut connection = relay.connect(origin).await?;
        connection.send(Method::POST, uri, nothing()).await
    };
    matches!(timeout(ANSWER, told).await, Ok(Ok(answer)) if answer.status() == StatusCode::OK)
}
