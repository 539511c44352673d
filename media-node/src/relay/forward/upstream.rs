//! One publication forwarded to one origin, as its task reports it.

mod task;

use std::future::pending;
use std::net::SocketAddr;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::rejection::PublishRejection;
use super::source::ForwardSource;
use task::UpstreamTask;

/// One origin that gets the publication. Dropping it aborts the request.
pub(super) struct ForwardUpstream {
    origin: SocketAddr,
    state: watch::Receiver<UpstreamState>,
    task: Option<JoinHandle<()>>,
    finish: CancellationToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpstreamState {
    Opening,
    /// The origin confirmed that it has the stream.
    Forwarding {
        /// The origin is draining.
        draining: bool,
        /// It has not got yet what the encoder sent a while ago.
        is_behind: bool,
    },
    Ended(UpstreamEnd),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpstreamEnd {
    /// All messages were sent.
    Finished,
    /// The cluster rejects the publication.
    Rejected(PublishRejection),
    /// The origin has no room for another stream, as the rejection says.
    Full(PublishRejection),
    /// The origin disconnected, hung, or lost the stream.
    Lost(String),
}

impl UpstreamState {
    /// Returns whether no other origin is to be tried.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Opening => false,
            Self::Ended(end) => end.is_final(),
            Self::Forwarding { .. } => true,
        }
    }
}

impl UpstreamEnd {
    /// Returns whether no other origin is to be tried.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Full(_))
    }
}

impl ForwardUpstream {
    pub(super) fn open(source: ForwardSource, origin: SocketAddr) -> Self {
        let (sender, state) = watch::channel(UpstreamState::Opening);
        let finish = source.ended.child_token();
        let task = UpstreamTask {
            timeouts: source.context.timeouts().forward,
            source,
            origin,
            finished: finish.clone(),
            state: sender,
        };
        Self {
            origin,
            state,
            task: Some(tokio::spawn(task.run())),
            finish,
        }
    }

    pub(super) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Waits until the origin accepts the stream or does not.
    pub(super) async fn opened(&self) -> UpstreamState {
        self.reached(|state| *state != UpstreamState::Opening).await
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> UpstreamEnd {
        let ended = |state: &UpstreamState| matches!(state, UpstreamState::Ended(_));
        match self.reached(ended).await {
            UpstreamState::Ended(end) => end,
            state => UpstreamEnd::Lost(format!("{state:?}")),
        }
    }

    /// Waits until the origin drains.
    pub(super) async fn draining(&self) {
        self.forwarding(|draining, _| draining).await;
    }

    /// Waits until the origin has what the encoder has sent.
    pub(super) async fn caught_up(&self) {
        self.forwarding(|_, is_behind| !is_behind).await;
    }

    /// Waits until the origin falls behind.
    pub(super) async fn fallen_behind(&self) {
        self.forwarding(|_, is_behind| is_behind).await;
    }

    /// Waits until the origin has the stream, drains or not, and is behind or not.
    async fn forwarding(&self, condition: fn(bool, bool) -> bool) {
        let is_reached = |state: &UpstreamState| match state {
            UpstreamState::Forwarding {
                draining,
                is_behind,
            } => condition(*draining, *is_behind),
            _ => false,
        };
        if !is_reached(&self.reached(is_reached).await) {
            pending::<()>().await;
        }
    }

    /// Sends what is in the log, and no more.
    pub(super) fn finish(mut self) {
        self.finish.cancel();
        self.task = None;
    }

    async fn reached(&self, condition: impl FnMut(&UpstreamState) -> bool) -> UpstreamState {
        let mut state = self.state.clone();
        match state.wait_for(condition).await {
            Ok(state) => state.clone(),
            Err(_) => UpstreamState::Ended(UpstreamEnd::Lost("aborted".to_owned())),
        }
    }
}

impl Drop for ForwardUpstream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
