//! One pull from one origin, from its request to its end.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use media_engine::{
    DuplicatePolicy, Publication, PublicationSource, PublishError, Stream, StreamState,
};
use media_wire::relay::{Epoch, RelayItem, RelayReader};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::super::Relay;
use super::super::client::nothing;
use super::super::protocol::{PULL, Parameters};
use super::super::survey::{Answer, Survey, Until};
use super::{Ended, WAIT};
use crate::state::clients::{ClientGuard, ClientRole, StopReason};

/// What an origin has for the head of its answer. It has just said that it has the stream, so it is busy rather than gone.
const HEAD: Duration = Duration::from_secs(2);
/// A live publisher sends all the time. One that does not is asked after, again and again.
const IDLE: Duration = Duration::from_millis(400);
/// An origin that sends nothing for so long and does not answer either is given up.
const HUNG: Duration = Duration::from_millis(900);

/// What was before a pull.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// The stream was pulled before.
    pub(super) pulled: bool,
    /// Viewers waited for the publication before it began, and that is not long ago.
    pub(super) awaited: bool,
}

pub(super) struct Session<'a> {
    relay: &'a Relay,
    stream: &'a Arc<Stream>,
    states: watch::Receiver<StreamState>,
    answer: &'a Answer,
    history: History,
    client: Option<ClientGuard>,
    publication: Option<Publication>,
    /// When the engine wants to seal.
    pulse: Option<Instant>,
    /// When the origin last sent something.
    heard: Instant,
    /// When to ask who has the stream.
    doubt: Instant,
    /// When to end, if nobody comes.
    linger: Option<Instant>,
    messages: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        relay: &'a Relay,
        stream: &'a Arc<Stream>,
        answer: &'a Answer,
        history: History,
    ) -> Self {
        let now = Instant::now();
        Self {
            relay,
            stream,
            states: stream.watch(),
            answer,
            history,
            client: None,
            publication: None,
            pulse: None,
            heard: now,
            doubt: now + IDLE,
            linger: None,
            messages: 0,
        }
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) async fn run(&mut self) -> Ended {
        let mut connection = match self.relay.connect(self.answer.origin).await {
            Ok(connection) => connection,
            Err(error) => return Ended::Lost(error.to_string()),
        };
        let beginning = (self.answer.epoch(), 0);
        let known = self.stream.position();
        let position = known.or_else(|| self.history.awaited.then_some(beginning));
        let parameters = Parameters {
            epoch: position.map(|(epoch, _)| epoch),
            sequence: position.map(|(_, sequence)| sequence),
            ..Parameters::of(self.stream.key())
        };
        let uri = parameters.uri(PULL);
        let head = timeout(HEAD, connection.send(Method::GET, &uri, nothing())).await;
        let body = match head {
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => self.entered(answer),
            Ok(Ok(answer)) if answer.status() == StatusCode::NOT_FOUND => return Ended::Over,
            Ok(Ok(answer)) => return Ended::Lost(format!("status {}", answer.status())),
            Ok(Err(error)) => return Ended::Lost(error.to_string()),
            Err(_) => return Ended::Lost(format!("no answer in {HEAD:?}")),
        };
        self.receive(body).await
    }

    async fn receive(&mut self, mut body: Incoming) -> Ended {
        let mut reader = RelayReader::new(self.relay.0.config.limits.max_message_bytes());
        let mut survey: Option<BoxFuture<'_, Survey>> = None;
        let relay = self.relay;
        let key = self.stream.key();
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let data = match frame {
                        None => return Ended::Over,
                        Some(Err(error)) => return Ended::Lost(error.to_string()),
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    };
                    if let Some(client) = &self.client {
                        client.received(data.len());
                    }
                    reader.feed(data);
                    if let Err(ended) = self.take(&mut reader) {
                        return ended;
                    }
                }
                () = at(self.pulse) => self.seal(),
                () = superseded(self.publication.as_ref()) => return Ended::Here,
                changed = self.states.changed() => {
                    if changed.is_err() {
                        return Ended::Unwanted;
                    }
                    self.look_for_viewers();
                }
                () = at(self.linger) => return Ended::Unwanted,
                () = kicked(self.client.as_ref()) => return Ended::Lost("kicked".to_owned()),
                () = sleep_until(self.doubt), if survey.is_none() => {
                    self.doubt = self.heard + IDLE;
                    if self.heard.elapsed() >= IDLE {
                        // An origin that is well answers at once; another one, as soon as it has the stream.
                        survey = Some(relay.survey(key, WAIT, Until::Found).boxed());
                    }
                }
                answers = done(survey.as_mut()) => {
                    survey = None;
                    self.doubt = Instant::now() + IDLE;
                    if let Some(ended) = self.judge(&answers) {
                        return ended;
                    }
                }
            }
        }
    }

    /// The origin has begun to answer.
    fn entered(&mut self, answer: Response<Incoming>) -> Incoming {
        let Answer { origin, node, .. } = self.answer;
        let client = self
            .relay
            .enter(*origin, ClientRole::Publisher, self.stream.key(), node);
        self.client = Some(client);
        self.heard = Instant::now();
        answer.into_body()
    }

    /// Puts what came into the log.
    fn take(&mut self, reader: &mut RelayReader) -> Result<(), Ended> {
        self.heard = Instant::now();
        loop {
            match reader.receive() {
                Err(error) => return Err(Ended::Lost(error.to_string())),
                Ok(None) => break,
                Ok(Some(RelayItem::Epoch(epoch))) => self.begin(epoch)?,
                Ok(Some(RelayItem::Message {
                    sequence,
                    kind,
                    timestamp,
                    payload,
                })) => {
                    let Some(publication) = &mut self.publication else {
                        continue;
                    };
                    publication.append_at(sequence, timestamp, kind, payload);
                    self.messages += 1;
                }
            }
        }
        self.seal();
        Ok(())
    }

    fn begin(&mut self, epoch: Epoch) -> Result<(), Ended> {
        let key = self.stream.key();
        let begun = self.relay.0.registry.publish(
            key,
            epoch,
            PublicationSource::Pulled,
            DuplicatePolicy::Takeover,
            Instant::now().into_std(),
        );
        match begun {
            Ok(publication) => {
                info!(stream = %key, origin = %self.answer.origin, epoch = epoch.0, "pulling");
                self.publication = Some(publication);
                if std::mem::take(&mut self.history.pulled) {
                    self.relay.0.switches.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(PublishError::AlreadyPublished) => Err(Ended::Here),
            Err(PublishError::Superseded { .. }) => Err(Ended::Outdated),
            Err(error @ PublishError::TooManyStreams(_)) => Err(Ended::Lost(error.to_string())),
        }
    }

    fn epoch(&self) -> Option<Epoch> {
        self.publication.as_ref().map(Publication::epoch)
    }

    fn seal(&mut self) {
        let now = Instant::now().into_std();
        let due = self
            .publication
            .as_mut()
            .and_then(|publication| publication.pulse(now));
        self.pulse = due.map(Instant::from_std);
    }

    fn look_for_viewers(&mut self) {
        let viewers = self.states.borrow_and_update().viewers;
        if viewers > 0 {
            self.linger = None;
        } else if self.linger.is_none() {
            self.linger = Some(Instant::now() + self.relay.0.config.stream.linger());
        }
    }

    /// What to do when the origin was silent and all were asked.
    fn judge(&self, survey: &Survey) -> Option<Ended> {
        let silence = self.heard.elapsed();
        if silence < IDLE {
            return None;
        }
        let ours = survey.of(self.answer.origin);
        let newest = survey.newest();
        if let Some(other) = newest.filter(|answer| answer.origin != self.answer.origin) {
            let there = (other.epoch(), other.known.sequence);
            // The same publication, while this origin has not noticed that it lost it.
            let ahead = Some(there) > self.stream.position();
            let moved = self.epoch() == Some(other.epoch()) && !ours.is_some_and(|it| it.live);
            if ahead || moved {
                return Some(Ended::Elsewhere(Box::new(other.clone())));
            }
        }
        match ours {
            Some(ours) if ours.live => None,
            Some(_) => Some(Ended::Over),
            None if silence >= HUNG => Some(Ended::Lost(format!("silent for {silence:?}"))),
            None => None,
        }
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
        Some(client) => while client.stopped().await != StopReason::Kicked {},
        None => pending().await,
    }
}

async fn superseded(publication: Option<&Publication>) {
    match publication {
        Some(publication) => publication.superseded().await,
        None => pending().await,
    }
}

async fn done(survey: Option<&mut BoxFuture<'_, Survey>>) -> Survey {
    match survey {
        Some(survey) => survey.await,
        None => pending().await,
    }
}
