//! Health checks of the origins that relays doubt. Each is checked until it replies, over a new connection each time: after an outage of
//! the network, TCP sends again what was lost only after seconds.
//!
//! One task of the media node checks them for all of its streams.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Method;
use tokio::time::{Instant, timeout};

use super::client::empty;
use super::context::RelayContext;
use super::protocol::NODE;
use super::reachability::CheckEnd;

/// What is requested. Every media node answers it, and with its id.
const LIVENESS: &str = "/livez";
/// The shortest and the longest time between two requests to an origin that does not reply. It is a fiftieth of the outage, which
/// becomes longer by no more than that.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Time for one response. A busy origin takes long, and later requests do not get theirs sooner.
const RESPONSE: Duration = Duration::from_secs(3);
/// Requests to one origin without a response.
const MAX_UNANSWERED: usize = 16;

/// Checks the origins that are in doubt, for as long as the media node runs.
pub(super) async fn check_origins(context: Arc<RelayContext>) {
    let mut running = FuturesUnordered::new();
    loop {
        let reachability = &context.reachability;
        running.extend(
            reachability
                .begin()
                .into_iter()
                .map(|origin| check_until_reply(&context, origin)),
        );
        tokio::select! {
            () = reachability.check_due() => {}
            Some(()) = running.next() => reachability.retain(&context.current_origins()),
        }
    }
}

/// Checks an origin until it replies, is gone, or no relay needs it any more.
async fn check_until_reply(context: &RelayContext, origin: SocketAddr) {
    let reachability = &context.reachability;
    let suspicion = context.timeouts().survey.suspicion;
    let start = Instant::now();
    let mut unanswered = FuturesUnordered::new();
    let mut end = CheckEnd::Replied;
    loop {
        if unanswered.len() < MAX_UNANSWERED {
            unanswered.push(replies(context, origin));
        }
        let pause = (start.elapsed() / 50).clamp(PAUSE.0, PAUSE.1);
        let answered = async {
            while let Some(replied) = unanswered.next().await {
                if replied {
                    return;
                }
                reachability.fail(origin);
            }
            pending().await
        };
        if timeout(pause, answered).await.is_ok() {
            return reachability.end(origin, end);
        }
        end = CheckEnd::Recovered;
        if !reachability.is_doubted(origin, suspicion)
            || !context.current_origins().contains(&origin)
        {
            return reachability.end(origin, CheckEnd::GivenUp);
        }
    }
}

/// Returns whether an origin replies to a request over a new connection.
async fn replies(context: &RelayContext, origin: SocketAddr) -> bool {
    let reply = async {
        let mut connection = context.open(origin).await.ok()?;
        let response = connection.send(Method::GET, LIVENESS, empty()).await.ok()?;
        response.headers().contains_key(NODE).then_some(())
    };
    matches!(timeout(RESPONSE, reply).await, Ok(Some(())))
}
