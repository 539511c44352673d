//! How a node leaves: it still accepts for a while, closes its ports, serves who is there, lets them go at keyframes over
//! the last part of the time, and is gone at the deadline at the latest.

use std::sync::Arc;
use std::time::Duration;

use media_engine::PublicationSource;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::context::{Phase, Shared};
use crate::state::clients::{Client, Kind, Role, StopReason};

/// The last part of the time, in which clients are let go one after another: all at once would make the nodes that
/// they go to the next victims.
const LETTING_GO: f64 = 0.3;

/// Of that, what is left for the last ones to reach a keyframe.
const LAST_KEYFRAME: f64 = 0.2;

/// How long those that are let go at the end have to take their last bytes.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often the streams are looked at for relays that are still served.
const LOOK: Duration = Duration::from_millis(200);

/// Takes a node from its first signal to the point where nothing of it is needed any more. Ends at once with `stop`.
pub(crate) async fn drain(
    shared: &Arc<Shared>,
    closing: &CancellationToken,
    stop: &CancellationToken,
) {
    let settings = &shared.config.drain;
    let begun = Instant::now();
    let deadline = begun + settings.timeout();
    info!(accept = ?settings.accept(), timeout = ?settings.timeout(), "leaving");
    let drained = async {
        shared.enter_phase(Phase::LameDuck);
        sleep(settings.accept().min(settings.timeout())).await;
        shared.enter_phase(Phase::Closing);
        closing.cancel();
        shared.relay.leave();
        let letting_go = settings.timeout().mul_f64(LETTING_GO);
        if timeout_at(deadline - letting_go, idle(shared))
            .await
            .is_err()
        {
            let last = deadline - letting_go.mul_f64(LAST_KEYFRAME);
            tokio::select! {
                () = idle(shared) => return,
                () = async { let_go(shared, last).await; sleep_until(deadline).await } => {}
            }
            let left = shared.clients.all();
            left.iter().for_each(|client| client.stop(StopReason::Now));
            drop(timeout_at(Instant::now() + FAREWELL, idle(shared)).await);
        }
    };
    tokio::select! {
        () = drained => info!(took = ?begun.elapsed(), "left"),
        () = stop.cancelled() => info!("stopped"),
    }
}

/// Waits until nobody is served: no connection of the public ports, no other node.
async fn idle(shared: &Shared) {
    loop {
        let mut open = shared.connections.open();
        if open.wait_for(|count| *count == 0).await.is_err() || !serves_nodes(shared) {
            return;
        }
        sleep(LOOK).await;
    }
}

fn serves_nodes(shared: &Shared) -> bool {
    shared.registry.streams().iter().any(|stream| {
        let state = stream.state();
        let forwarded = |publication: media_engine::PublicationInfo| {
            publication.source == PublicationSource::Forwarded
        };
        state.relays > 0 || state.publication.is_some_and(forwarded)
    })
}

/// Asks everybody to leave, one after another until `last`.
async fn let_go(shared: &Shared, last: Instant) {
    let mut clients: Vec<Arc<Client>> = shared.clients.all();
    // Another node's pull would only come back; it ends with its publisher.
    clients.retain(|client| client.kind != Kind::Relay || client.role == Role::Publisher);
    info!(clients = clients.len(), "letting clients go");
    // Viewers first: the keyframe that they leave at comes from the publisher. Among them neither the oldest nor the
    // newest first: those of one stream shall not all be on one side.
    clients.sort_by_key(|client| {
        let mixed = client.id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (client.role == Role::Publisher, mixed)
    });
    let begun = Instant::now();
    let span = last.saturating_duration_since(begun);
    let step = span / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    let mut due = begun;
    for client in clients {
        client.stop(StopReason::Draining);
        due += step;
        sleep_until(due).await;
    }
}
