//! The task of a publication that is forwarded to one origin: a long request, beside which the origin is supervised.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::try_join;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use media_config::DuplicatePublish;
use media_engine::{Format, Start};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::super::heartbeat::{Heartbeat, StatusRequests, THIS_NODE};
use super::super::progress::{ForwardLag, ForwardProgress};
use super::super::source::{ForwardSource, Predecessor};
use super::{UpstreamEnd, UpstreamState};
use crate::relay::body::{EndCondition, RelayBody};
use crate::relay::client::{ClientError, NodeConnection, Segments, json};
use crate::relay::protocol::{ConflictBody, ConflictReason, FORWARD, Parameters};
use crate::relay::rejection::PublishRejection;
use crate::relay::response_limit::within;
use crate::relay::settings::ForwardTimeouts;
use crate::relay::survey::{OriginStatus, status_over};
use crate::state::clients::ClientRole;

/// Why a request that forwards ended.
enum RequestEnd {
    Upstream(UpstreamEnd),
    /// The origin replies to other requests, and gets nothing of this one.
    Stalled,
    /// The origin has just given up the log that the publication would continue: it begins again.
    LogGivenUp,
}

impl From<UpstreamEnd> for RequestEnd {
    fn from(end: UpstreamEnd) -> Self {
        Self::Upstream(end)
    }
}

/// The task that forwards a publication to one origin.
pub(super) struct UpstreamTask {
    pub(super) source: ForwardSource,
    pub(super) origin: SocketAddr,
    pub(super) timeouts: ForwardTimeouts,
    /// The encoder disconnected, or another origin has the publication.
    pub(super) finished: CancellationToken,
    pub(super) state: watch::Sender<UpstreamState>,
}

impl UpstreamTask {
    pub(super) async fn run(self) {
        let (stream, origin) = (self.source.stream.key(), self.origin);
        let end = self.forward().await;
        match &end {
            UpstreamEnd::Lost(reason) => {
                self.source.context.metrics.failures.inc();
                self.source.context.reachability.suspect(origin);
                self.source.context.search_origins();
                // Attempts are repeated until an origin accepts the stream, and the task logs the outage once.
                match *self.state.borrow() {
                    UpstreamState::Opening => {
                        debug!(%stream, %origin, reason, "the origin does not accept the stream");
                    }
                    _ => info!(%stream, %origin, reason, "forwarding lost"),
                }
            }
            end => info!(%stream, %origin, ?end, "forwarding ended"),
        }
        self.state.send_replace(UpstreamState::Ended(end));
    }

    /// Forwards to the origin. A connection that stalls is opened again once, and so is one whose origin has given up the log.
    async fn forward(&self) -> UpstreamEnd {
        let (mut segments, mut is_given_up) = (Segments::Large, false);
        loop {
            match self.forward_over(segments).await {
                Ok(end) | Err(RequestEnd::Upstream(end)) => return end,
                Err(RequestEnd::Stalled) if segments == Segments::Small => {
                    return UpstreamEnd::Lost("the origin gets nothing of the stream".to_owned());
                }
                Err(RequestEnd::Stalled) => {
                    let (context, key) = (&self.source.context, self.source.stream.key());
                    segments = context.small_segments(key, self.origin);
                }
                Err(RequestEnd::LogGivenUp) if is_given_up => {
                    return UpstreamEnd::Lost("the origin keeps nothing of the stream".to_owned());
                }
                Err(RequestEnd::LogGivenUp) => is_given_up = true,
            }
        }
    }

    async fn forward_over(&self, segments: Segments) -> Result<UpstreamEnd, RequestEnd> {
        let context = &self.source.context;
        let key = self.source.stream.key();
        // Both at a time: a distant origin takes long to accept each connection.
        let connect = context.connect_with(self.origin, segments);
        let (started, mut connection) = try_join(self.started(), connect.map_err(lost)).await?;
        let (status_connection, start, node) = started;
        let policy = context.settings.stream.duplicate_publish;
        let parameters = Parameters {
            epoch: Some(self.source.epoch),
            sequence: self.source.next_sequence(),
            from: match start {
                // An origin that has no message yet has given up none.
                Start::Resume(_, next) if next > 0 => Some(next),
                _ => None,
            },
            resume: self.source.predecessor != Predecessor::None || segments == Segments::Small,
            reject: policy == DuplicatePublish::Reject,
            priority: self.source.priority,
            address: Some(self.source.address),
            ..Parameters::of(key)
        };
        let worker = self.source.worker;
        let cursor = self.source.stream.subscribe(Format::Relay, start, worker);
        let client = Arc::new(context.add_client(self.origin, ClientRole::Viewer, key, &node));
        let end = EndCondition::Finished(self.finished.clone(), self.source.epoch);
        let body = RelayBody::new(cursor, end, Arc::clone(&client)).boxed();
        let uri = parameters.uri(FORWARD);
        tokio::select! {
            response = connection.send(Method::POST, &uri, body) => {
                self.responded(response.map_err(lost)?).await
            }
            end = self.supervise(status_connection) => Err(end),
            () = client.kicked() => Err(UpstreamEnd::Lost("kicked".to_owned()).into()),
            () = self.unconfirmed_end() => {
                Err(UpstreamEnd::Lost("the end was not confirmed".to_owned()).into())
            }
        }
    }

    /// Connects, and returns where to start.
    async fn started(&self) -> Result<(NodeConnection, Start, HeaderValue), UpstreamEnd> {
        let (context, key) = (&self.source.context, self.source.stream.key());
        // A distant origin is not asked again: that takes longer than all of the log.
        let mut due = Instant::now();
        if self.source.predecessor != Predecessor::Draining {
            due += self.timeouts.first_need;
        }
        let mut connection = self.unless_hung(context.connect(self.origin)).await?;
        let parameters = Parameters {
            epoch: Some(self.source.epoch),
            ..Parameters::of(key)
        };
        loop {
            let status = status_over(context, &mut connection, self.origin, &parameters);
            let status = self.unless_hung(status).await?;
            let status = status.ok_or_else(|| UpstreamEnd::Lost(THIS_NODE.to_owned()))?;
            if status.has_encoder() && status.epoch() > self.source.epoch {
                return Err(UpstreamEnd::Rejected(PublishRejection::Superseded));
            }
            let needed = status.publication.needed.unwrap_or_default();
            if needed.nodes > 0 {
                // Others who have lost the former origin say what they need at about the same time.
                due = due.min(Instant::now() + self.timeouts.needs);
            }
            let patience = due.saturating_duration_since(Instant::now());
            if let Some(start) = self.source.start(&status, patience) {
                return Ok((connection, start, status.node));
            }
            sleep(self.timeouts.poll_unconfirmed.min(patience)).await;
        }
    }

    /// Returns the result of a request, unless the origin hangs.
    async fn unless_hung<T>(
        &self,
        request: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, UpstreamEnd> {
        let limit = || self.source.context.hung_limit(self.origin);
        match within(limit, request).await {
            Some(result) => result.map_err(lost),
            None => Err(UpstreamEnd::Lost(format!("no response for {:?}", limit()))),
        }
    }

    /// Returns when the origin does not respond, does not have the stream, or gets nothing of it.
    async fn supervise(&self, connection: NodeConnection) -> RequestEnd {
        if let Err(end) = self.caught_up(connection).await {
            return end;
        }
        let mut progress = ForwardProgress::new();
        let (mut lag, mut is_behind) = (ForwardLag::default(), false);
        let heartbeats = &self.source.heartbeats;
        let mut news = heartbeats.follow(self.origin, self.source.stream.key());
        while news.changed().await.is_ok() {
            match news.borrow_and_update().clone() {
                Heartbeat::Stopped(reason) => return UpstreamEnd::Lost(reason).into(),
                // The stream ends at the origin: the response to the long request says when.
                _ if self.finished.is_cancelled() => {}
                Heartbeat::Unknown => {}
                Heartbeat::Beats { draining, status } => {
                    if let Some(status) = status {
                        if let Some(end) = self.end_by(&status) {
                            return end.into();
                        }
                        self.source.observe(&status);
                        let sent = self.source.next_sequence().unwrap_or_default();
                        is_behind = lag.is_behind(status.publication.sequence, sent);
                        if self.is_stalled(&status, &mut progress) {
                            return RequestEnd::Stalled;
                        }
                    }
                    self.confirm(draining, is_behind);
                }
            }
        }
        pending().await
    }

    /// Polls the stream's status at the origin until it has the stream, and what the log has of it now. One that replaces a draining one,
    /// which serves until then, gets what has come meanwhile as well.
    async fn caught_up(&self, connection: NodeConnection) -> Result<(), RequestEnd> {
        let next_sequence = || self.source.next_sequence().unwrap_or_default();
        let (mut end, mut next_end) = (next_sequence(), next_sequence());
        let (context, large) = (&self.source.context, Segments::Large);
        let mut requests = StatusRequests::new(context, self.origin, large, Some(connection));
        let start = Instant::now();
        let mut progress: Option<ForwardProgress> = None;
        let mut silence = Duration::ZERO;
        loop {
            let pause = if progress.is_some() {
                self.timeouts.poll
            } else {
                self.timeouts.poll_unconfirmed
            };
            sleep(pause).await;
            if self.finished.is_cancelled() {
                pending::<()>().await;
            }
            silence += pause;
            let is_confirmed = progress.is_some();
            if self.source.predecessor == Predecessor::Draining {
                end = std::mem::replace(&mut next_end, next_sequence());
            }
            let status = self.status_within(&mut requests, silence, is_confirmed);
            let Some(status) = status.await? else {
                continue;
            };
            silence = Duration::ZERO;
            match self.end_by(&status) {
                None => {
                    let is_behind = status.publication.sequence < end;
                    self.confirm(status.publication.draining, is_behind);
                    if !is_behind {
                        return Ok(());
                    }
                    let progress = progress.get_or_insert_with(ForwardProgress::new);
                    if self.is_stalled(&status, progress) {
                        return Err(RequestEnd::Stalled);
                    }
                }
                Some(UpstreamEnd::Lost(_)) if progress.is_none() => {
                    if start.elapsed() > self.timeouts.confirm {
                        return Err(RequestEnd::Stalled);
                    }
                }
                Some(end) => return Err(end.into()),
            }
        }
    }

    /// Returns whether an origin with this status gets nothing of what there is.
    fn is_stalled(&self, status: &OriginStatus, progress: &mut ForwardProgress) -> bool {
        let sent = self.source.next_sequence();
        progress.is_stalled(&status.publication, sent, self.timeouts.stalled)
    }

    /// Returns the stream's status at an origin that was silent for some time, or `None` if another request may succeed.
    async fn status_within(
        &self,
        requests: &mut StatusRequests,
        silence: Duration,
        is_confirmed: bool,
    ) -> Result<Option<OriginStatus>, UpstreamEnd> {
        let context = &self.source.context;
        let limit = || {
            if is_confirmed {
                // The replies wait behind what it gets, and another origin would lack as much.
                self.timeouts.hung_alone + context.time_on_the_way(self.origin)
            } else {
                context.hung_limit(self.origin)
            }
        };
        let rest = || limit().saturating_sub(silence);
        let parameters = Parameters::of(self.source.stream.key());
        let status = requests.status(&parameters);
        match within(rest, status).await {
            None => {
                let reason = format!("no response for {:?}", limit());
                Err(UpstreamEnd::Lost(reason))
            }
            Some(Err(error)) if silence >= limit() => Err(lost(error)),
            Some(Err(_)) => Ok(None),
            Some(Ok(status)) => Ok(Some(status)),
        }
    }

    /// Returns the end that follows from a status, unless the origin has the publication.
    fn end_by(&self, status: &OriginStatus) -> Option<UpstreamEnd> {
        let (epoch, live) = (status.epoch(), status.has_encoder());
        if live && epoch > self.source.epoch {
            return Some(UpstreamEnd::Rejected(PublishRejection::Superseded));
        }
        let has_it = live && epoch == self.source.epoch;
        (!has_it).then(|| UpstreamEnd::Lost("the origin lost the stream".to_owned()))
    }

    fn confirm(&self, draining: bool, is_behind: bool) {
        let forwarding = UpstreamState::Forwarding {
            draining,
            is_behind,
        };
        self.state.send_if_modified(|state| {
            let modified = *state != forwarding;
            *state = forwarding;
            modified
        });
    }

    async fn responded(&self, response: Response<Incoming>) -> Result<UpstreamEnd, RequestEnd> {
        let status = response.status();
        let unexpected = || RequestEnd::from(UpstreamEnd::Lost(format!("status {status}")));
        match status {
            StatusCode::OK => Ok(UpstreamEnd::Finished),
            StatusCode::CONFLICT => {
                let body = timeout(self.timeouts.hung, json::<ConflictBody>(response)).await;
                let Ok(Ok(ConflictBody { reason })) = body else {
                    return Err(unexpected());
                };
                let rejection = match reason {
                    ConflictReason::AlreadyPublished => PublishRejection::AlreadyPublished,
                    ConflictReason::Superseded => PublishRejection::Superseded,
                };
                Err(UpstreamEnd::Rejected(rejection).into())
            }
            StatusCode::PRECONDITION_FAILED => Err(RequestEnd::LogGivenUp),
            StatusCode::INSUFFICIENT_STORAGE => {
                Err(UpstreamEnd::Full(PublishRejection::OutOfMemory).into())
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Err(UpstreamEnd::Full(PublishRejection::TooManyStreams).into())
            }
            _ => Err(unexpected()),
        }
    }

    /// Waits until the time to confirm the end is over.
    async fn unconfirmed_end(&self) {
        self.finished.cancelled().await;
        sleep(self.timeouts.confirm).await;
    }
}

fn lost(error: ClientError) -> UpstreamEnd {
    UpstreamEnd::Lost(error.to_string())
}
