//! Drain of a media node: it still accepts connections for a while, closes its ports, serves the open connections,
//! disconnects clients at keyframes over the last part of the time, and ends at the deadline at the latest.

use std::time::Duration;

use media_config::DrainSettings;
use media_engine::{PublicationInfo, PublicationSource};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::context::NodeContext;
use super::timings::Timings;
use crate::state::clients::{ClientKind, ClientRole, StopReason};
use crate::state::phase::Phase;

/// Interval of the search for relays that are still served.
const POLL: Duration = Duration::from_millis(200);

/// Drains a media node. Returns when no client is left, at the deadline, or when `stop` is cancelled.
pub(super) async fn drain(
    context: &NodeContext,
    closing: &CancellationToken,
    stop: &CancellationToken,
) {
    let start = Instant::now();
    let settings = &context.config.drain;
    info!(accept = ?settings.accept(), timeout = ?settings.timeout(), "draining");
    tokio::select! {
        () = drain_until_deadline(context, start, closing) => {
            info!(took = ?start.elapsed(), "drained");
        }
        () = stop.cancelled() => info!("stopped"),
    }
}

async fn drain_until_deadline(context: &NodeContext, start: Instant, closing: &CancellationToken) {
    let settings = &context.config.drain;
    let deadline = start + settings.timeout();
    context.enter_phase(Phase::LameDuck);
    sleep(settings.accept().min(settings.timeout())).await;
    context.enter_phase(Phase::Closing);
    closing.cancel();
    context.relay.start_draining();
    let timings = &context.timings;
    let (first, last) = disconnect_times(settings, timings);
    if timeout_at(start + first, idle(context)).await.is_ok() {
        return;
    }
    let paced = async {
        disconnect_paced(context, start + last).await;
        sleep_until(deadline).await;
    };
    tokio::select! {
        () = idle(context) => return,
        () = paced => {}
    }
    for client in context.clients.all() {
        client.stop(StopReason::Now);
    }
    drop(timeout_at(Instant::now() + timings.last_bytes, idle(context)).await);
}

/// Returns the times from the signal to the disconnection of the first client and of the last one.
fn disconnect_times(settings: &DrainSettings, timings: &Timings) -> (Duration, Duration) {
    let (accept, timeout) = (settings.accept(), settings.timeout());
    let disconnecting = timeout.mul_f64(timings.disconnect_share);
    let left = disconnecting.mul_f64(timings.last_keyframe_share);
    // The encoder would be cut off just after the last viewers have left, who would lose what it sends until they watch elsewhere.
    let groups = timings.last_groups.min(timeout.saturating_sub(accept) / 2);
    let last = timeout.saturating_sub(left.max(groups));
    let paced = disconnecting.saturating_sub(left);
    (last.saturating_sub(paced).max(accept.min(timeout)), last)
}

/// Waits until no client is served: no connection of the public ports, and no relay. An origin that is not told that a publication is over
/// would wait for its encoder, and keep others from its place.
async fn idle(context: &NodeContext) {
    loop {
        let mut open = context.connections.open();
        let is_closed = open.wait_for(|count| *count == 0).await.is_err();
        if is_closed || !(serves_relays(context) || context.relay.is_forwarding()) {
            return;
        }
        sleep(POLL).await;
    }
}

fn serves_relays(context: &NodeContext) -> bool {
    context.registry.streams().iter().any(|stream| {
        let state = stream.state();
        let is_forwarded =
            |publication: PublicationInfo| publication.source == PublicationSource::Forwarded;
        stream.readers().relays > 0 || state.publication.is_some_and(is_forwarded)
    })
}

/// Asks every client to disconnect at its next keyframe, one after another until `last`.
async fn disconnect_paced(context: &NodeContext, last: Instant) {
    let mut clients = context.clients.all();
    // A relay that pulls would only reconnect. It ends with its publisher.
    clients
        .retain(|client| client.kind != ClientKind::Relay || client.role == ClientRole::Publisher);
    info!(clients = clients.len(), "disconnecting clients");
    // Viewers first: the keyframe that they wait for comes from the publisher. Viewers in pseudo-random order, so that those
    // of one stream are spread over the time.
    clients.sort_by_key(|client| {
        let mixed = client.id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (client.role == ClientRole::Publisher, mixed)
    });
    let mut due = Instant::now();
    let step = last.saturating_duration_since(due)
        / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    for client in clients {
        client.stop(StopReason::Draining);
        due += step;
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_in_time_for_the_last_groups_of_pictures() {
        let times = |accept_seconds, timeout_seconds| {
            let settings = DrainSettings {
                accept_seconds,
                timeout_seconds,
            };
            let (first, last) = disconnect_times(&settings, &Timings::default());
            (first.as_millis(), last.as_millis())
        };
        assert_eq!(times(5, 300), (210_000, 282_000));
        assert_eq!(times(5, 30), (18_800, 26_000));
        assert_eq!(times(1, 5), (1_800, 3_000));
        assert_eq!(times(5, 0), (0, 0));
    }
}
