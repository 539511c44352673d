//! What happens to a stream that an encoder publishes here: an edge forwards it to an origin, an origin tells the others.
//!
//! An edge forwards to the first origin in rendezvous order that it reaches. When that one is lost it goes on with the
//! next one, where it left off: the log has what the new origin lacks, and what it has already it drops. When that one
//! is leaving, another one takes over first. The encoder notices nothing.

mod upstream;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use media_engine::{Start, Stream};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::announce::announce;
use super::{Backoff, Gauge, Refusal, Relay};
use upstream::{Link, LinkState, Over};

/// How long the end of one publication may keep the beginning of the next one waiting.
const TAIL: Duration = Duration::from_millis(500);
/// How often an edge looks for another origin when its own is leaving and there was none.
const LOOK: Duration = Duration::from_secs(1);

/// A publication on its way to the cluster, for as long as this lives.
pub(crate) struct Carried {
    refused: watch::Receiver<Option<Refusal>>,
    _ended: Option<DropGuard>,
}

impl Carried {
    /// There is no cluster.
    pub(super) fn nowhere() -> Self {
        let (_, refused) = watch::channel(None);
        Self {
            refused,
            _ended: None,
        }
    }

    /// Tells the other origins that a newer publication is here.
    pub(super) fn announce(relay: &Relay, key: &StreamKey, epoch: Epoch) -> Self {
        let (_, refused) = watch::channel(None);
        let ended = CancellationToken::new();
        if relay.origins().is_some() {
            let (relay, key, ended) = (relay.clone(), key.clone(), ended.clone());
            relay.clone().spawn(move |_| async move {
                ended
                    .run_until_cancelled(announce(&relay, &key, epoch))
                    .await;
            });
        }
        Self {
            refused,
            _ended: Some(ended.drop_guard()),
        }
    }

    /// Forwards the stream to an origin.
    pub(super) fn forward(relay: &Relay, stream: &Arc<Stream>, epoch: Epoch) -> Self {
        let (refuse, refused) = watch::channel(None);
        let ended = CancellationToken::new();
        let (over, before) = relay.enter_forward(stream.key());
        let (relay, stream, token) = (relay.clone(), Arc::clone(stream), ended.clone());
        relay.clone().spawn(move |worker| {
            let forward = Forward {
                relay,
                stream,
                epoch,
                worker,
                begun: Instant::now(),
                ended: token,
            };
            async move {
                if let Some(mut before) = before {
                    // What the encoder sent last before it came again would be lost to the one that takes over.
                    drop(timeout(TAIL, before.changed()).await);
                }
                if let Some(refusal) = forward.run().await {
                    refuse.send_replace(Some(refusal));
                }
                drop(over);
            }
        });
        Self {
            refused,
            _ended: Some(ended.drop_guard()),
        }
    }

    /// Resolves when the cluster does not want the publication, and never otherwise.
    pub(crate) async fn refused(&self) -> Refusal {
        let mut refused = self.refused.clone();
        match refused
            .wait_for(Option::is_some)
            .await
            .map(|refusal| *refusal)
        {
            Ok(Some(refusal)) => refusal,
            Ok(None) | Err(_) => pending().await,
        }
    }
}

/// An edge's way to the origins for one publication.
#[derive(Clone)]
struct Forward {
    relay: Relay,
    stream: Arc<Stream>,
    epoch: Epoch,
    worker: usize,
    begun: Instant,
    /// The encoder is gone.
    ended: CancellationToken,
}

/// Why there is no link any more.
enum Stop {
    Ended,
    Refused(Refusal),
}

impl Forward {
    /// Forwards until the encoder is gone, or until the cluster refuses it.
    async fn run(self) -> Option<Refusal> {
        let _gauge = Gauge::enter(&self.relay, |relay| &relay.pushes);
        let mut first = true;
        loop {
            let link = match self.reach().await {
                Ok(link) => link,
                Err(Stop::Ended) => return None,
                Err(Stop::Refused(refusal)) => return Some(refusal),
            };
            if !std::mem::replace(&mut first, false) {
                self.relay.0.switches.fetch_add(1, Ordering::Relaxed);
            }
            match self.keep(link).await {
                Over::Finished => return None,
                Over::Refused(refusal) => {
                    info!(stream = %self.stream.key(), %refusal, "forwarding refused");
                    return Some(refusal);
                }
                Over::Lost(_) => {}
            }
        }
    }

    /// Tries the origins until one takes the stream.
    async fn reach(&self) -> Result<Link, Stop> {
        let mut backoff = Backoff::new();
        let mut warned = false;
        loop {
            for origin in self.relay.preferred(self.stream.key()) {
                let link = self.link(origin);
                match link.opened().await {
                    LinkState::Over(Over::Refused(refusal)) => return Err(Stop::Refused(refusal)),
                    LinkState::Over(Over::Finished) => return Err(Stop::Ended),
                    LinkState::Over(Over::Lost(_)) => {}
                    LinkState::Opening | LinkState::Carrying { .. } => return Ok(link),
                }
                if self.ended.is_cancelled() {
                    return Err(Stop::Ended);
                }
            }
            if !std::mem::replace(&mut warned, true) {
                warn!(stream = %self.stream.key(), "no origin takes the stream");
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.ended.cancelled() => return Err(Stop::Ended),
            }
        }
    }

    /// Stays with an origin for as long as it can, and moves to another one when it is leaving.
    async fn keep(&self, mut link: Link) -> Over {
        loop {
            tokio::select! {
                over = link.over() => return over,
                () = link.draining() => {}
            }
            match self.successor(&link).await {
                Some(successor) => {
                    let stream = self.stream.key();
                    info!(%stream, from = %link.origin(), to = %successor.origin(), "origin is leaving");
                    self.relay.0.switches.fetch_add(1, Ordering::Relaxed);
                    link.finish();
                    link = successor;
                }
                None => tokio::select! {
                    over = link.over() => return over,
                    () = sleep(LOOK) => {}
                },
            }
        }
    }

    /// Another origin that takes the stream and stays.
    async fn successor(&self, link: &Link) -> Option<Link> {
        let origins = self.relay.preferred(self.stream.key());
        for origin in origins
            .into_iter()
            .filter(|origin| *origin != link.origin())
        {
            let successor = self.link(origin);
            if let LinkState::Carrying { draining: false } = successor.opened().await {
                return Some(successor);
            }
        }
        None
    }

    fn link(&self, origin: SocketAddr) -> Link {
        Link::open(self.clone(), origin)
    }

    /// Where an origin begins that has nothing of the publication: with all that the log has of it.
    fn beginning(&self) -> Start {
        match self.begun.elapsed() < self.relay.0.config.stream.window() {
            true => Start::At(self.epoch, 0),
            // Publications before this one have left the log.
            false => Start::Oldest,
        }
    }
}
