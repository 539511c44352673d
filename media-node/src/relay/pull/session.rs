//! One pull from one origin, from its request to its end.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use media_engine::{
    DuplicatePolicy, Publication, PublicationSource, PublishError, ReaderCounts, Stream,
};
use media_wire::relay::Epoch;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::super::client::{NodeConnection, Segments, empty};
use super::super::context::RelayContext;
use super::super::intake::Intake;
use super::super::protocol::{PULL, Parameters};
use super::super::settings::PullTimeouts;
use super::super::silence::Silence;
use super::super::survey::{OriginStatus, Survey};
use super::direct::reached_directly;
use crate::state::clients::{ClientGuard, ClientRole};

/// Why a pull ended.
#[derive(Debug)]
pub(super) enum PullEnd {
    /// The stream had no viewers for the linger time.
    NoViewers,
    /// The origin ended the response: it has no publication any more.
    Unpublished,
    /// The stream is published here now.
    PublishedHere,
    /// A newer publication is at another origin, or the publication moved there; or the same origin is to be pulled from over a new
    /// connection.
    Moved(Box<OriginStatus>),
    /// The origin's publication is older than the one that was known here.
    Outdated,
    /// The log that the request would continue was given up meanwhile, or its stream has ended: it has no init data, and gets none.
    LogGivenUp,
    /// The origin, which replied just before, did not respond within this time: it is busy, or the path loses large packets.
    NoResponse(Duration),
    /// The origin disconnected, hung or sent what is no relay stream.
    Lost(String),
}

impl PullEnd {
    /// Returns whether another request may get more.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::NoResponse(_))
    }
}

/// What preceded a pull.
#[derive(Clone, Copy, Debug)]
pub(super) struct PullHistory {
    /// The stream was pulled before.
    pub(super) pulled: bool,
    /// Viewers have received the stream, and stayed.
    pub(super) watched: bool,
    /// Viewers waited for the publication before it started, and that was recently.
    pub(super) awaited: bool,
    /// The connection before this one stalled although its origin replied.
    pub(super) stalled: bool,
    /// The publication has taken over from the one that this media node had.
    pub(super) succeeds: bool,
}

/// A pull from one origin.
pub(super) struct PullSession<'a> {
    context: &'a RelayContext,
    stream: &'a Arc<Stream>,
    readers: watch::Receiver<ReaderCounts>,
    status: &'a OriginStatus,
    history: PullHistory,
    /// The message that the request asks for.
    requested: Option<(Epoch, u64)>,
    timeouts: PullTimeouts,
    client: Option<ClientGuard>,
    intake: Intake,
    silence: Silence<'a>,
    /// When to end, unless a viewer joins.
    linger: Option<Instant>,
}

impl<'a> PullSession<'a> {
    pub(super) fn new(
        context: &'a RelayContext,
        stream: &'a Arc<Stream>,
        status: &'a OriginStatus,
        history: PullHistory,
    ) -> Self {
        let timeouts = context.timeouts().pull;
        Self {
            context,
            stream,
            readers: stream.watch_readers(),
            status,
            history,
            requested: None,
            timeouts,
            client: None,
            intake: Intake::new(context),
            silence: Silence::new(context, stream.key(), timeouts.silence, timeouts.silence)
                .of_pull(stream),
            linger: None,
        }
    }

    /// Returns the number of messages that were received.
    pub(super) fn messages(&self) -> u64 {
        self.intake.messages()
    }

    pub(super) async fn run(&mut self) -> PullEnd {
        let (_connection, response) = match self.request().await {
            Ok(responded) => responded,
            Err(end) => return end,
        };
        let body = match response.status() {
            StatusCode::OK => self.accepted(response),
            StatusCode::NOT_FOUND => return PullEnd::Unpublished,
            status => return PullEnd::Lost(format!("status {status}")),
        };
        self.receive(body).await
    }

    /// Sends the request: over the connection of the survey if it is there, as a distant origin takes long to accept another one.
    async fn request(&mut self) -> Result<(NodeConnection, Response<Incoming>), PullEnd> {
        let (context, origin) = (self.context, self.status.origin);
        let segments = if self.history.stalled {
            context.small_segments(self.stream.key(), origin)
        } else {
            Segments::Large
        };
        let kept = || context.kept.take(origin);
        if let Some(kept) = (segments == Segments::Large).then(kept).flatten() {
            match self.send(kept).await {
                // The origin may have closed it at this moment.
                Err(PullEnd::Lost(_)) => {}
                sent => return sent,
            }
        }
        match context.connect_with(origin, segments).await {
            Ok(connection) => self.send(connection).await,
            Err(error) => Err(PullEnd::Lost(error.to_string())),
        }
    }

    async fn send(
        &mut self,
        mut connection: NodeConnection,
    ) -> Result<(NodeConnection, Response<Incoming>), PullEnd> {
        self.stream.expect_epoch(self.epoch_on_air());
        let (uri, limit) = (self.request_uri(), self.timeouts.response);
        match timeout(limit, connection.send(Method::GET, &uri, empty())).await {
            Ok(Ok(response)) => Ok((connection, response)),
            Ok(Err(error)) => Err(PullEnd::Lost(error.to_string())),
            Err(_) => Err(PullEnd::NoResponse(limit)),
        }
    }

    /// Returns the earliest epoch of which viewers may get something that join now.
    fn epoch_on_air(&self) -> Epoch {
        let epoch = self.status.epoch();
        if self.status.live {
            epoch
        } else {
            // The last messages of a publication that is over are for the viewers who watched it.
            Epoch(epoch.0.saturating_add(1))
        }
    }

    /// Returns the request: from the message that viewers who stayed need next, from the first message of a publication that
    /// viewers waited for, or from the newest keyframe. A log without viewers may have ended long ago: viewers that join would begin
    /// where it ended, and lag by that time for as long as they watch.
    ///
    /// After a publication that was here comes the one that took over from it. The origin may have had others in between, which were over
    /// before they came here, and are older than what viewers have seen.
    fn request_uri(&mut self) -> String {
        let PullHistory {
            watched,
            awaited,
            succeeds,
            ..
        } = self.history;
        let first = (self.status.epoch(), 0);
        let position = if succeeds {
            Some(first)
        } else {
            self.stream.position()
        };
        let position = position.filter(|_| watched);
        let position = position.or_else(|| awaited.then_some(first));
        self.requested = position;
        let parameters = Parameters {
            resume: watched,
            indirect: self.status.publication.indirect,
            ..Parameters::needing(self.stream.key(), position)
        };
        parameters.uri(PULL)
    }

    fn accepted(&mut self, response: Response<Incoming>) -> Incoming {
        let OriginStatus { origin, node, .. } = self.status;
        let key = self.stream.key();
        self.client = Some(
            self.context
                .add_client(*origin, ClientRole::Publisher, key, node),
        );
        self.silence.end();
        response.into_body()
    }

    async fn receive(&mut self, mut body: Incoming) -> PullEnd {
        // The last viewer may have left before, as a pull moves while it lingers.
        self.update_linger();
        let mut direct = pin!(reached_directly(self.context, self.stream, self.status));
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let data = match frame {
                        None => return PullEnd::Unpublished,
                        Some(Err(error)) => return PullEnd::Lost(error.to_string()),
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    };
                    if let Some(client) = &self.client {
                        client.received(data.len());
                    }
                    self.intake.feed(data);
                    if let Err(end) = self.append() {
                        return end;
                    }
                }
                () = self.intake.seal_due() => self.intake.seal(),
                () = self.intake.superseded() => return PullEnd::PublishedHere,
                changed = self.readers.changed() => {
                    if changed.is_err() {
                        return PullEnd::NoViewers;
                    }
                    self.update_linger();
                }
                direct = &mut direct => return PullEnd::Moved(Box::new(direct)),
                () = at(self.linger) => return PullEnd::NoViewers,
                () = kicked(self.client.as_ref()) => return PullEnd::Lost("kicked".to_owned()),
                survey = self.silence.surveyed() => {
                    if let Some(end) = self.evaluate(&survey) {
                        return end;
                    }
                }
            }
        }
    }

    /// Appends the received messages to the log.
    fn append(&mut self) -> Result<(), PullEnd> {
        self.silence.end();
        loop {
            match self.intake.append() {
                Ok(None) if self.has_tail() => return Err(PullEnd::Unpublished),
                Ok(None) => return Ok(()),
                Ok(Some(epoch)) => self.publish(epoch)?,
                Err(error) => return Err(PullEnd::Lost(error.to_string())),
            }
        }
    }

    /// Returns whether all was received of a publication that was over. It may have moved to this origin meanwhile and go on, and is not
    /// over then: another survey finds it.
    fn has_tail(&self) -> bool {
        let end = (self.status.epoch(), self.status.publication.sequence);
        !self.status.live && self.stream.position() >= Some(end)
    }

    /// Publishes the copy here.
    fn publish(&mut self, epoch: Epoch) -> Result<(), PullEnd> {
        if self.stream.state().ended {
            return Err(PullEnd::LogGivenUp);
        }
        let key = self.stream.key();
        let is_slate = self.status.is_slate() && epoch == self.status.epoch();
        let source = if is_slate {
            PublicationSource::PulledSlate
        } else {
            PublicationSource::Pulled
        };
        let published = self.context.registry.publish(
            key,
            epoch,
            source,
            DuplicatePolicy::Takeover,
            Instant::now().into_std(),
        );
        match published {
            Ok(publication) if self.has_lost_log(&publication) => Err(PullEnd::LogGivenUp),
            Ok(publication) => {
                // An encoder that begins with the slate, or returns, has an earlier epoch, and takes its place.
                if self.status.is_slate() {
                    self.stream.expect_epoch(epoch);
                }
                info!(stream = %key, origin = %self.status.origin, epoch = epoch.0, "pulling");
                self.intake.append_to(publication);
                if std::mem::take(&mut self.history.pulled) {
                    self.context.metrics.switches.inc();
                }
                Ok(())
            }
            Err(PublishError::AlreadyPublished) => Err(PullEnd::PublishedHere),
            Err(PublishError::Superseded { .. }) => Err(PullEnd::Outdated),
            Err(error @ (PublishError::TooManyStreams(_) | PublishError::OutOfMemory(_))) => {
                Err(PullEnd::Lost(error.to_string()))
            }
        }
    }

    /// Returns whether a publication does not continue the log that the request was made for.
    fn has_lost_log(&self, publication: &Publication) -> bool {
        let (stream, epoch) = (publication.stream(), publication.epoch());
        let continues = self.requested.filter(|(of, _)| *of == epoch);
        !Arc::ptr_eq(stream, self.stream) || stream.position() < continues.filter(|it| it.1 > 0)
    }

    fn update_linger(&mut self) {
        if self.readers.borrow_and_update().viewers > 0 {
            self.linger = None;
        } else if self.linger.is_none() {
            self.linger = Some(Instant::now() + self.context.settings.stream.linger());
        }
    }

    /// Returns why to end after a survey while the origin is silent.
    fn evaluate(&self, survey: &Survey) -> Option<PullEnd> {
        let silence = self.silence.elapsed();
        let own = survey.reply_of(self.status.origin);
        let others = |newest: &&OriginStatus| newest.origin != self.status.origin;
        if let Some(other) = survey.newest().filter(others) {
            let position = (other.epoch(), other.publication.sequence);
            // This origin may not have noticed yet that it lost the publication.
            let ahead = if self.status.is_slate() {
                other.has_encoder()
            } else {
                Some(position) > self.stream.position()
            };
            let epoch = self.intake.publication().map(Publication::epoch);
            let moved = epoch == Some(other.epoch()) && !own.is_some_and(|own| own.live);
            if ahead || moved {
                return Some(PullEnd::Moved(Box::new(other.clone())));
            }
        }
        match own {
            // It ended there, by a reset that did not arrive here.
            Some(own) if own.live && self.is_unserved(own) => Some(PullEnd::Lost(
                "the origin has lost the connection".to_owned(),
            )),
            Some(own) if own.live => self
                .is_stalled(own)
                .then(|| PullEnd::Moved(Box::new(own.clone()))),
            Some(_) if !self.status.publication.indirect => Some(PullEnd::Unpublished),
            _ if silence >= self.hung_limit() => {
                Some(PullEnd::Lost(format!("silent for {silence:?}")))
            }
            _ => None,
        }
    }

    /// Returns whether the origin does not serve this pull.
    fn is_unserved(&self, own: &OriginStatus) -> bool {
        own.publication.served == Some(false) && !self.status.publication.indirect
    }

    /// Returns whether the connection has stalled: it brings nothing, although the origin has more and replies over another one. After an
    /// outage of the network TCP sends again what was lost, but the longer the outage was, the later. And it never brings what the
    /// path loses because it is too large.
    fn is_stalled(&self, own: &OriginStatus) -> bool {
        let position = Some((own.epoch(), own.publication.sequence));
        let received = self.stream.position().max(Some((own.epoch(), 0)));
        // A path that loses much needs time for a large message.
        let is_new = self.history.stalled || self.messages() == 0;
        let factor = if is_new { 4 } else { 1 };
        position > received && self.silence.elapsed() >= self.hung_limit() * factor
    }

    /// Returns the silence after which the origin is given up.
    fn hung_limit(&self) -> Duration {
        self.timeouts.hung + self.context.time_on_the_way(self.status.origin)
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn kicked(client: Option<&ClientGuard>) {
    match client {
        Some(client) => client.kicked().await,
        None => pending().await,
    }
}
