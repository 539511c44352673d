//! Finding a stream for a viewer: from a play request to the first bytes. Waits for a stream that does not exist yet, for a
//! bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media_engine::{
    Batch, Cursor, CursorEvent, Format, OutOfMemory, Registry, Start, Stream, StreamState,
    TooManyStreams,
};
use media_wire::{InvalidKey, StreamKey};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::auth::{AccessRequest, Action, Auth, Credential, Denial, Grant};
use crate::relay::{Appearance, Relay, TooManyNames};
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, Clients, NewClient};
use crate::state::metrics::Metrics;

/// Decides who may play, and finds streams, on this media node or through a relay.
pub(crate) struct StreamFinder {
    pub(crate) registry: Registry,
    pub(crate) relay: Relay,
    pub(crate) clients: Arc<Clients>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) auth: Arc<Auth>,
    /// Time that a viewer waits for a stream. Zero waits only until every origin has answered.
    pub(crate) play_wait: Duration,
}

/// A viewer's request for a stream.
pub(crate) struct PlayRequest {
    pub(crate) key: StreamKey,
    pub(crate) kind: ClientKind,
    pub(crate) peer: SocketAddr,
    pub(crate) agent: String,
    pub(crate) credential: Credential,
    /// URL that the viewer connected to, for hooks.
    pub(crate) tc_url: String,
    /// Page that embeds the player, for hooks.
    pub(crate) page_url: String,
    /// Worker that serves the viewer.
    pub(crate) worker: usize,
}

/// A viewer, registered as a client, with its stream.
pub(crate) struct Play {
    pub(crate) client: ClientGuard,
    pub(crate) opened: OpenedStream,
}

/// A stream, and a cursor whose first bytes are ready.
pub(crate) struct OpenedStream {
    pub(crate) cursor: Cursor,
    pub(crate) first: Batch,
}

/// Reason that a play request gets no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPlayable {
    /// No media node has a publication of it.
    #[error("no such stream")]
    NotFound,
    /// This media node is full.
    #[error(transparent)]
    Full(#[from] NoRoom),
    /// The viewer may not play it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// Its name is not a stream key.
    #[error(transparent)]
    Name(#[from] InvalidKey),
}

/// Limit for which a media node has no room for the stream of a viewer. Another one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    /// `limits.maxStreams` is reached.
    #[error(transparent)]
    Streams(#[from] TooManyStreams),
    /// `limits.maxLookups` is reached.
    #[error(transparent)]
    Names(#[from] TooManyNames),
    /// The stream would have to be pulled, and there is no memory for another one.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

impl StreamFinder {
    /// Decides whether the viewer may play, subscribes to the stream, waits for its first bytes and registers the viewer.
    ///
    /// # Errors
    /// After `playWaitSeconds` at the latest, [`NotPlayable::NotFound`].
    pub(crate) async fn play(&self, request: PlayRequest) -> Result<Play, NotPlayable> {
        let (id, requested) = (self.clients.next_id(), Instant::now());
        let opened = match self.decide(&request, id).await {
            Ok(grant) => self.find(&request).await.map(|opened| (grant, opened)),
            Err(denial) => Err(denial.into()),
        };
        let result = match &opened {
            Ok(_) => "started",
            Err(NotPlayable::Full(_)) => "full",
            Err(NotPlayable::Denied(_)) => "denied",
            Err(_) => "not_found",
        };
        let labels = [request.kind.label(), result];
        self.metrics.viewers.plays.of(labels).inc();
        if opened.is_ok() {
            let viewers = &self.metrics.viewers;
            viewers.started(request.kind, requested.elapsed());
        }
        debug!(stream = %request.key, kind = labels[0], result, agent = request.agent, "play");
        let (grant, opened) = opened?;
        let client = self.clients.enter(NewClient {
            id,
            grant,
            peer: request.peer,
            kind: request.kind,
            role: ClientRole::Viewer,
            // The stream's own copy of the name. The request's would be kept for each viewer.
            stream: opened.cursor.stream().key().clone(),
            agent: request.agent,
        });
        Ok(Play { client, opened })
    }

    async fn decide(&self, request: &PlayRequest, client: u64) -> Result<Grant, Denial> {
        self.auth
            .decide(AccessRequest {
                action: Action::Play,
                stream: &request.key,
                credential: &request.credential,
                peer: request.peer.ip(),
                client,
                tc_url: &request.tc_url,
                page_url: &request.page_url,
            })
            .await
    }

    async fn find(&self, request: &PlayRequest) -> Result<OpenedStream, NotPlayable> {
        let opened = self.first_opened(request);
        if self.play_wait.is_zero() {
            tokio::select! {
                biased;
                opened = opened => Ok(opened?),
                () = self.relay.not_found(&request.key) => Err(NotPlayable::NotFound),
            }
        } else {
            match timeout(self.play_wait, opened).await {
                Ok(opened) => Ok(opened?),
                Err(_) => Err(NotPlayable::NotFound),
            }
        }
    }

    /// Waits for a stream and its first bytes, without a time limit.
    async fn first_opened(&self, request: &PlayRequest) -> Result<OpenedStream, NoRoom> {
        loop {
            let viewer = request.peer.ip();
            let appearance = self.relay.appearance(&request.key, viewer).await;
            let appearance = appearance.inspect_err(|_| self.metrics.exceeded("lookups"))?;
            // A media node without room for the stream could not pull it.
            let now = Instant::now().into_std();
            self.registry.check_memory_for(&request.key, now)?;
            let stream = self.registry.check_limit_for(&request.key);
            let stream = stream.and_then(|()| self.registry.open(&request.key));
            let stream = stream.inspect_err(|_| self.metrics.exceeded("streams"))?;
            if let Some(opened) = self.open(stream, appearance, request).await {
                return Ok(opened);
            }
        }
    }

    /// Waits for a stream's first bytes. Returns `None` when the stream has ended and another one may have its name.
    async fn open(
        &self,
        stream: Arc<Stream>,
        appearance: Appearance,
        request: &PlayRequest,
    ) -> Option<OpenedStream> {
        let format = match request.kind {
            ClientKind::Rtmp => Format::Rtmp,
            ClientKind::Flv | ClientKind::Ws | ClientKind::Relay => Format::Flv,
        };
        let start = if appearance.awaited {
            Start::Oldest
        } else {
            Start::Newest
        };
        let mut cursor = stream.subscribe(format, start, request.worker);
        self.relay.demand(&stream, appearance);
        // A stream without a publisher may still hold its last frames. They are for viewers that saw it live.
        let mut states = stream.watch();
        let is_live = |state: &StreamState| state.publication.is_some() && state.playable;
        let state = states.wait_for(|state| state.ended || is_live(state)).await;
        let ended = state.map_or(true, |state| state.ended);
        if ended {
            return None;
        }
        match cursor.next().await {
            CursorEvent::Batch(first) => Some(OpenedStream { cursor, first }),
            CursorEvent::Ended => None,
        }
    }
}
