//! Forwarding, on an edge: what an encoder publishes here is sent to one origin.
//!
//! The edge takes the first origin in rendezvous order that it reaches. When it loses that origin, it continues with the
//! next one where it stopped: the log has the messages that the new origin lacks, and the origin drops those that it has.
//! When the origin drains, another one gets all of it first. The encoder does not notice.

mod former_origins;
mod heartbeat;
mod progress;
mod servers;
mod source;
mod upstream;

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media_engine::Stream;
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::active_relay::ActiveRelay;
use super::announce::start_announcing;
use super::context::RelayContext;
use super::rejection::PublishRejection;
use heartbeat::Heartbeats;
use servers::forward_to_servers;
use source::{ForwardSource, Predecessor};
use upstream::{ForwardUpstream, UpstreamEnd, UpstreamState};

/// Makes a publication known in the cluster while this lives.
pub(crate) struct Forwarding {
    rejection: watch::Receiver<Option<PublishRejection>>,
    _ended: Option<DropGuard>,
}

impl Forwarding {
    /// Returns the forwarding of a media node that is alone: it does nothing.
    pub(super) fn none() -> Self {
        let (_, rejection) = watch::channel(None);
        Self {
            rejection,
            _ended: None,
        }
    }

    /// Announces the publication to the other origins.
    pub(super) fn announce(context: &Arc<RelayContext>, key: &StreamKey, epoch: Epoch) -> Self {
        Self {
            _ended: Some(start_announcing(context, key, epoch)),
            ..Self::none()
        }
    }

    /// Waits until the cluster rejects the publication.
    pub(crate) async fn rejected(&self) -> PublishRejection {
        let mut rejection = self.rejection.clone();
        let rejected = rejection.wait_for(Option::is_some).await;
        match rejected.map(|rejection| *rejection) {
            Ok(Some(rejection)) => rejection,
            Ok(None) | Err(_) => pending().await,
        }
    }
}

/// The forwarded publications of an edge. Clones share them.
#[derive(Clone)]
pub(super) struct Forwards {
    context: Arc<RelayContext>,
    /// The latest one of each stream: whether an origin accepts it. The channel closes when it ends.
    latest: Arc<Mutex<HashMap<StreamKey, watch::Receiver<bool>>>>,
    heartbeats: Heartbeats,
}

impl Forwards {
    pub(super) fn new(context: Arc<RelayContext>) -> Self {
        Self {
            heartbeats: Heartbeats::new(Arc::clone(&context)),
            context,
            latest: Arc::default(),
        }
    }

    /// Forwards the publication of an encoder with this address to an origin.
    pub(super) fn forward(
        &self,
        stream: &Arc<Stream>,
        epoch: Epoch,
        address: IpAddr,
    ) -> Forwarding {
        let (sender, rejection) = watch::channel(None);
        let ended = CancellationToken::new();
        let (active, predecessor) = self.replace(stream.key());
        let publication = stream.state().publication;
        let priority = publication.map_or(0, |publication| publication.priority);
        let (context, heartbeats) = (Arc::clone(&self.context), self.heartbeats.clone());
        let (stream, token) = (Arc::clone(stream), ended.clone());
        let window = stream.keep_window();
        self.context.spawn(move |worker| {
            let limit = context.timeouts().forward.predecessor;
            let source = ForwardSource {
                context,
                heartbeats,
                stream,
                epoch,
                priority,
                address,
                former: Arc::default(),
                predecessor: Predecessor::None,
                worker,
                start: Instant::now(),
                ended: token,
            };
            async move {
                if let Some(predecessor) = predecessor {
                    until_over(predecessor, limit).await;
                }
                if !source.context.settings.rtmp_servers.is_empty() {
                    active.send_replace(true);
                    forward_to_servers(&source).await;
                } else if let Some(rejection) = (ForwardTask { source, active }).run().await {
                    sender.send_replace(Some(rejection));
                }
                drop(window);
            }
        });
        Forwarding {
            rejection,
            _ended: Some(ended.drop_guard()),
        }
    }

    /// Returns whether a publication is forwarded. One that has ended still is, until an origin has all of it and knows its end.
    pub(super) fn any(&self) -> bool {
        self.latest.lock().values().any(is_forwarded)
    }

    /// Marks the stream as forwarded until the sender is dropped. Returns the previous forward's receiver with it.
    fn replace(&self, key: &StreamKey) -> (watch::Sender<bool>, Option<watch::Receiver<bool>>) {
        let (sender, receiver) = watch::channel(false);
        let mut latest = self.latest.lock();
        latest.retain(|_, active| is_forwarded(active));
        let predecessor = latest.insert(key.clone(), receiver);
        (sender, predecessor)
    }
}

/// Returns whether a forward has not ended: its sender exists.
fn is_forwarded(active: &watch::Receiver<bool>) -> bool {
    active.has_changed().is_ok()
}

/// Waits until the forward of the previous publication has ended, but no longer than the limit while an origin accepts it: that
/// would drop the last messages of a publication that is superseded. While no origin accepts it, none would accept the next one.
async fn until_over(mut predecessor: watch::Receiver<bool>, limit: Duration) {
    if predecessor.wait_for(|accepted| *accepted).await.is_ok() {
        drop(timeout(limit, predecessor.wait_for(|_| false)).await);
    }
}

/// The task of one forwarded publication.
struct ForwardTask {
    source: ForwardSource,
    /// Whether an origin accepts it.
    active: watch::Sender<bool>,
}

impl ForwardTask {
    /// Forwards until an origin has all of the publication, or until the cluster rejects it.
    async fn run(self) -> Option<PublishRejection> {
        tokio::select! {
            rejection = self.forward() => rejection,
            () = self.tail_expired() => None,
        }
    }

    /// Waits until the time to forward the last messages is over.
    async fn tail_expired(&self) {
        self.source.ended.cancelled().await;
        sleep(self.source.context.timeouts().forward.tail).await;
    }

    async fn forward(&self) -> Option<PublishRejection> {
        let (metrics, stream) = (&self.source.context.metrics, self.source.stream.key());
        let _active = ActiveRelay::new(&metrics.forwards);
        let mut predecessor = Predecessor::None;
        loop {
            let end = match self.reach_origin(predecessor).await {
                Ok(upstream) => {
                    if std::mem::replace(&mut predecessor, Predecessor::Lost) != Predecessor::None {
                        metrics.switches.inc();
                    }
                    info!(%stream, origin = %upstream.origin(), "forwarding");
                    self.active.send_replace(true);
                    let end = self.stay(upstream).await;
                    self.active.send_replace(false);
                    end
                }
                Err(end) => end,
            };
            match end {
                UpstreamEnd::Finished => return None,
                UpstreamEnd::Rejected(rejection) => {
                    info!(%stream, %rejection, "forwarding rejected");
                    self.source.context.rejected.note(stream, self.source.epoch);
                    return Some(rejection);
                }
                UpstreamEnd::Full(rejection) if predecessor == Predecessor::None => {
                    return Some(rejection);
                }
                UpstreamEnd::Full(_) | UpstreamEnd::Lost(_) => {}
            }
        }
    }

    /// Tries the origins until one accepts the stream. A publication that no origin has had is also rejected when none has
    /// room for it.
    async fn reach_origin(&self, predecessor: Predecessor) -> Result<ForwardUpstream, UpstreamEnd> {
        let (context, stream) = (&self.source.context, self.source.stream.key());
        let mut backoff = context.backoff();
        let mut warned = false;
        loop {
            let mut before = context.before_attempt();
            let mut tried = None;
            let accepted = tokio::select! {
                accepted = self.try_origins(&mut tried, predecessor) => accepted,
                () = self.grace_after_change(&before.origins) => {
                    // A new origin does not wait for one that hangs.
                    tried.into_iter().for_each(|origin| context.reachability.suspect(origin));
                    continue;
                }
            };
            let reason = match accepted {
                Err(UpstreamEnd::Lost(reason)) => reason,
                Err(UpstreamEnd::Full(rejection)) if predecessor != Predecessor::None => {
                    rejection.to_string()
                }
                accepted => return accepted,
            };
            if !std::mem::replace(&mut warned, true) {
                warn!(%stream, reason, "no origin accepts the stream");
            }
            context.search_origins();
            let due = Instant::now() + backoff.next();
            context.attempt_due(due, &mut before).await;
        }
    }

    /// Waits until the origins differ from `origins`, and then for a working attempt to succeed: an origin that has accepted
    /// the stream would be left with its first messages.
    async fn grace_after_change(&self, origins: &[SocketAddr]) {
        let context = &self.source.context;
        context.origins_changed(origins).await;
        let current = context.current_origins();
        if !origins.iter().any(|origin| current.contains(origin)) {
            // All that are tried are gone.
            return;
        }
        sleep(context.timeouts().forward.grace).await;
    }

    /// Tries each origin once, and notes in `tried` which one it waits for. Returns the first one that accepts the stream, or why
    /// the last one does not.
    async fn try_origins(
        &self,
        tried: &mut Option<SocketAddr>,
        predecessor: Predecessor,
    ) -> Result<ForwardUpstream, UpstreamEnd> {
        let mut end = UpstreamEnd::Lost("no origin is known".to_owned());
        let context = &self.source.context;
        // One that has failed here may reply again before another one is tried.
        let recoveries = context.reachability.recoveries();
        let mut origins = context.ranked_origins(self.source.stream.key());
        *tried = origins.first().copied();
        // The first one is tried while it turns out which of them reply, which takes as long where they are distant.
        let mut first = origins
            .first()
            .map(|origin| self.open(*origin, predecessor));
        let accepted = async {
            if let Some(first) = &first
                && first.opened().await.is_final()
            {
                return;
            }
            pending().await
        };
        tokio::select! {
            () = accepted => {}
            () = context.put_silent_last(&mut origins) => {}
        }
        for origin in origins {
            *tried = Some(origin);
            let first = first.take().filter(|first| first.origin() == origin);
            let upstream = first.unwrap_or_else(|| self.open(origin, predecessor));
            let opened = tokio::select! {
                opened = upstream.opened() => opened,
                () = context.reachability.another_recovers(origin, recoveries.clone()) => {
                    context.reachability.suspect(origin);
                    return Err(UpstreamEnd::Lost("another origin replies again".to_owned()));
                }
            };
            match opened {
                UpstreamState::Ended(other) if other.is_final() => return Err(other),
                UpstreamState::Ended(other) => end = other,
                UpstreamState::Opening | UpstreamState::Forwarding { .. } => return Ok(upstream),
            }
        }
        Err(end)
    }

    /// Stays with an origin until it is lost, and moves to another one while it drains: once that has all that the encoder has sent, so
    /// that those who pull from the draining one wait for nothing.
    async fn stay(&self, mut upstream: ForwardUpstream) -> UpstreamEnd {
        let retry = self.source.context.timeouts().forward.successor;
        loop {
            tokio::select! {
                end = upstream.ended() => return end,
                () = upstream.draining() => {}
            }
            if let Some(successor) = self.successor(&upstream).await {
                let is_ready = tokio::select! {
                    () = successor.caught_up() => true,
                    // The path is too slow for both.
                    () = upstream.fallen_behind() => true,
                    _ = successor.ended() => false,
                    end = upstream.ended() => match end {
                        UpstreamEnd::Rejected(_) => return end,
                        // The rest comes through the other one.
                        _ => true,
                    },
                };
                if is_ready {
                    let stream = self.source.stream.key();
                    info!(%stream, from = %upstream.origin(), to = %successor.origin(), "origin drains");
                    self.source.context.metrics.switches.inc();
                    std::mem::replace(&mut upstream, successor).finish();
                    continue;
                }
            }
            tokio::select! {
                end = upstream.ended() => return end,
                () = sleep(retry) => {}
            }
        }
    }

    /// Returns another origin that accepts the stream and does not drain.
    async fn successor(&self, upstream: &ForwardUpstream) -> Option<ForwardUpstream> {
        let origins = self.source.context.ranked_origins(self.source.stream.key());
        let others = origins
            .into_iter()
            .filter(|origin| *origin != upstream.origin());
        for origin in others {
            let successor = self.open(origin, Predecessor::Draining);
            if let UpstreamState::Forwarding {
                draining: false, ..
            } = successor.opened().await
            {
                return Some(successor);
            }
        }
        None
    }

    fn open(&self, origin: SocketAddr, predecessor: Predecessor) -> ForwardUpstream {
        let source = ForwardSource {
            predecessor,
            ..self.source.clone()
        };
        ForwardUpstream::open(source, origin)
    }
}
