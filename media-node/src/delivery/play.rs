//! From a viewer's wish to the first bytes of its stream: waits for a stream that is not there yet, but not for ever.

use std::net::SocketAddr;
use std::sync::Arc;

use media_engine::{Batch, Cursor, CursorEvent, Format, Start, Stream, StreamState};
use media_wire::{InvalidKey, StreamKey};
use tokio::time::timeout;
use tracing::debug;

use crate::delivery::viewer::Ending;
use crate::server::context::Shared;
use crate::state::clients::{Client, ClientGuard, Kind, NewClient, Role};

/// Who wants to watch what.
pub(crate) struct Wish {
    pub(crate) key: StreamKey,
    pub(crate) kind: Kind,
    pub(crate) peer: SocketAddr,
    pub(crate) agent: String,
    /// The worker that the viewer is served by.
    pub(crate) worker: usize,
}

/// A viewer that has its first bytes.
pub(crate) struct Watching {
    pub(crate) client: ClientGuard,
    pub(crate) opened: Opened,
}

/// A stream with its first bytes for one viewer.
pub(crate) struct Opened {
    pub(crate) stream: Arc<Stream>,
    pub(crate) cursor: Cursor,
    pub(crate) first: Batch,
}

/// Why there is nothing to see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPlayable {
    /// Nobody publishes it.
    #[error("no such stream")]
    NotFound,
    /// The node knows as many streams as it may.
    #[error("too many streams on this node")]
    Full,
    /// It has no valid name.
    #[error(transparent)]
    Name(#[from] InvalidKey),
}

/// Subscribes to a stream and waits for its first bytes.
///
/// # Errors
/// After `playWaitSeconds` at the latest, [`NotPlayable::NotFound`].
pub(crate) async fn open(shared: &Shared, wish: Wish) -> Result<Watching, NotPlayable> {
    let opened = find(shared, &wish).await;
    let result = match &opened {
        Ok(_) => "started",
        Err(NotPlayable::Full) => "full",
        Err(_) => "not_found",
    };
    let labels = [wish.kind.label(), result];
    shared.metrics.plays.with_label_values(&labels).inc();
    debug!(stream = %wish.key, kind = wish.kind.label(), result, agent = wish.agent, "play");
    let opened = opened?;
    let client = shared.clients.enter(NewClient {
        peer: wish.peer,
        kind: wish.kind,
        role: Role::Viewer,
        stream: wish.key,
        agent: wish.agent,
    });
    Ok(Watching { client, opened })
}

async fn find(shared: &Shared, wish: &Wish) -> Result<Opened, NotPlayable> {
    let stream = || {
        shared
            .registry
            .open(&wish.key)
            .map_err(|_| NotPlayable::Full)
    };
    let opened = async {
        loop {
            if let Some(opened) = begin(shared, stream()?, wish).await {
                return Ok(opened);
            }
        }
    };
    let wait = shared.config.stream.play_wait();
    if wait.is_zero() {
        let stream = stream()?;
        tokio::select! {
            biased;
            opened = opened => opened,
            () = shared.relay.nobody_has(&stream) => Err(NotPlayable::NotFound),
        }
    } else {
        let late = Err(NotPlayable::NotFound);
        timeout(wait, opened).await.unwrap_or(late)
    }
}

/// Waits for the first bytes of a stream; `None` when it is over and another one may have its name.
async fn begin(shared: &Shared, stream: Arc<Stream>, wish: &Wish) -> Option<Opened> {
    let format = match wish.kind {
        Kind::Rtmp => Format::Rtmp,
        Kind::Flv | Kind::Ws | Kind::Relay => Format::Flv,
    };
    let mut cursor = stream.subscribe(format, Start::Newest, wish.worker);
    shared.relay.want(&stream);
    // A stream whose publisher left may still have its last pictures: they are for those who saw it live.
    let mut states = stream.watch();
    let there = |state: &StreamState| state.publication.is_some() && state.playable;
    let state = states.wait_for(|state| state.ended || there(state)).await;
    let over = state.map_or(true, |state| state.ended);
    if over {
        return None;
    }
    match cursor.next().await {
        CursorEvent::Batch(first) => Some(Opened {
            stream,
            cursor,
            first,
        }),
        CursorEvent::Ended => None,
    }
}

/// Says in the log, and counts, how a viewer's stream ended.
pub(crate) fn ended(shared: &Shared, client: &Client, ending: Ending) {
    let counters = client.counters();
    if ending == Ending::Stalled {
        shared.metrics.stalled.inc();
    }
    debug!(stream = %client.stream, ?ending, sent = counters.sent, skips = counters.skips, "play ended");
}
