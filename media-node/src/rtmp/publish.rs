//! An encoder's stream: from its socket into the log.

use std::pin::pin;
use std::time::{Duration, Instant};

use media_config::DuplicatePublish;
use media_engine::{DuplicatePolicy, Publication, PublicationSource, PublishError};
use media_wire::rtmp::server::{PublishRefusal, ServerEvent};
use media_wire::{InvalidKey, Message, StreamKey};
use tokio::io::AsyncReadExt;
use tokio::time::sleep_until;
use tracing::{debug, info};

use super::session::{Lost, Session, Then};
use crate::relay::{Carried, Refusal};
use crate::state::clients::{ClientGuard, Kind, NewClient, Role, StopReason};

/// What is read at once: a keyframe of a good picture fits.
const READ: usize = 64 * 1024;

/// How long an encoder that is to leave may take to its next keyframe.
const LAST_PICTURES: Duration = Duration::from_secs(10);

/// A publication, and what hangs on it. In the order in which they end: the relay sends what is left.
struct Publishing {
    publication: Publication,
    carried: Carried,
    client: ClientGuard,
    /// When the log wants to be looked at again.
    pulse: Option<Instant>,
    last_message: Instant,
    /// It is to end at the next keyframe, and here at the latest.
    leaving: Option<Instant>,
    /// It ends by itself, when it is connected elsewhere.
    moves: bool,
}

/// Why an encoder's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The encoder ended it, and may begin another.
    Unpublished,
    /// The encoder is gone.
    Gone,
    /// No message came for too long.
    Idle,
    /// Another encoder has the stream.
    Superseded,
    /// No origin takes it.
    NoOrigin,
    /// The encoder broke the protocol.
    Broken,
    /// The node lets it go.
    LetGo,
}

impl Publishing {
    /// How long a stream that is to end may take to its next keyframe.
    fn last_pictures(&self) -> Duration {
        match self.publication.stream().stats().video {
            Some(_) => LAST_PICTURES,
            None if self.moves => LAST_PICTURES,
            None => Duration::ZERO,
        }
    }

    fn ends_here(&self, message: &Message) -> bool {
        self.leaving.is_some() && !self.moves && message.is_keyframe()
    }
}

impl Session {
    /// Serves an encoder until its stream ends.
    pub(super) async fn publish(
        &mut self,
        key: Result<StreamKey, InvalidKey>,
    ) -> Result<Then, Lost> {
        let begun = match key {
            Ok(key) => self.begin(&key).await,
            Err(error) => Err((PublishRefusal::BadName, error.to_string())),
        };
        let mut publishing = match begun {
            Ok(publishing) => publishing,
            Err((refusal, reason)) => {
                self.count("refused");
                info!(peer = %self.peer, reason, "publish refused");
                self.connection.reject_publish(refusal, &reason);
                self.flush().await?;
                return Ok(Then::Close);
            }
        };
        self.count("started");
        let (client, epoch) = (publishing.client.id, publishing.publication.epoch().0);
        let stream = publishing.publication.key().clone();
        info!(%stream, client, peer = %self.peer, epoch, agent = self.agent, "publish started");
        self.connection.accept_publish();
        let ending = match self.flush().await {
            Ok(()) => self.receive_stream(&mut publishing).await,
            Err(_) => Ending::Gone,
        };
        let received = publishing.client.counters().received;
        info!(%stream, client, ?ending, received, "publish ended");
        drop(publishing);
        self.end_publish(ending).await
    }

    async fn begin(&self, key: &StreamKey) -> Result<Publishing, (PublishRefusal, String)> {
        let relay = &self.shared.relay;
        let epoch = relay.admit(key).await.map_err(|refusal| {
            let kind = match refusal {
                Refusal::AlreadyPublished => PublishRefusal::BadName,
                _ => PublishRefusal::Failed,
            };
            (kind, refusal.to_string())
        })?;
        let policy = match self.shared.config.stream.duplicate_publish {
            DuplicatePublish::Takeover => DuplicatePolicy::Takeover,
            DuplicatePublish::Reject => DuplicatePolicy::Reject,
        };
        let now = Instant::now();
        let publication = self
            .shared
            .registry
            .publish(key, epoch, PublicationSource::Encoder, policy, now)
            .map_err(|error| {
                let kind = match error {
                    PublishError::TooManyStreams(_) => PublishRefusal::Failed,
                    _ => PublishRefusal::BadName,
                };
                (kind, error.to_string())
            })?;
        Ok(Publishing {
            carried: relay.published(publication.stream(), publication.epoch()),
            publication,
            client: self.shared.clients.enter(NewClient {
                peer: self.peer,
                kind: Kind::Rtmp,
                role: Role::Publisher,
                stream: key.clone(),
                agent: self.agent.clone(),
            }),
            pulse: None,
            last_message: now,
            leaving: None,
            moves: false,
        })
    }

    async fn receive_stream(&mut self, publishing: &mut Publishing) -> Ending {
        let mut superseded = pin!(publishing.publication.superseded());
        let patience = self.shared.config.stream.publish_idle_timeout();
        loop {
            if let Some(ending) = self.take_messages(publishing) {
                return ending;
            }
            if self.flush().await.is_err() {
                return Ending::Gone;
            }
            let now = Instant::now();
            publishing.pulse = publishing.publication.pulse(now);
            let idle = publishing.last_message + patience;
            let limit = publishing.leaving.map_or(idle, |leaving| leaving.min(idle));
            if limit <= now {
                return if idle <= now {
                    Ending::Idle
                } else {
                    Ending::LetGo
                };
            }
            let due = publishing.pulse.map_or(limit, |pulse| pulse.min(limit));
            self.input.reserve(READ);
            tokio::select! {
                biased;
                reason = publishing.client.stopped() => match reason {
                    StopReason::Draining => self.ask_to_leave(publishing, now),
                    StopReason::Kicked | StopReason::Now => return Ending::LetGo,
                },
                () = &mut superseded => return Ending::Superseded,
                refusal = publishing.carried.refused() => return match refusal {
                    Refusal::NoOrigin => Ending::NoOrigin,
                    Refusal::AlreadyPublished | Refusal::Superseded => Ending::Superseded,
                },
                () = sleep_until(due.into()) => {}
                read = self.socket.read_buf(&mut self.input) => match read {
                    Ok(0) | Err(_) => return Ending::Gone,
                    Ok(read) => publishing.client.received(read),
                },
            }
        }
    }

    /// An encoder that can is asked to connect to another node first and to leave this one then; any other is closed at
    /// its next keyframe.
    fn ask_to_leave(&mut self, publishing: &mut Publishing, now: Instant) {
        publishing.moves = self
            .connection
            .request_reconnect(None, "this node is leaving");
        publishing.leaving = Some(now + publishing.last_pictures());
    }

    /// Moves what was read into the log.
    fn take_messages(&mut self, publishing: &mut Publishing) -> Option<Ending> {
        loop {
            match self.connection.receive(&mut self.input) {
                Ok(Some(ServerEvent::Media(message))) => {
                    publishing.last_message = Instant::now();
                    if publishing.ends_here(&message) {
                        return Some(Ending::LetGo);
                    }
                    publishing.publication.append(message);
                }
                Ok(Some(ServerEvent::Unpublish)) => return Some(Ending::Unpublished),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    debug!(%error, "encoder not understood");
                    return Some(Ending::Broken);
                }
            }
        }
    }

    /// Says why, where the encoder can still hear it.
    async fn end_publish(&mut self, ending: Ending) -> Result<Then, Lost> {
        let (label, refusal, reason) = match ending {
            Ending::Unpublished => {
                self.count("unpublished");
                self.flush().await?;
                return Ok(Then::Next);
            }
            Ending::Gone => {
                self.count("gone");
                return Err(Lost::Closed);
            }
            Ending::Broken => (
                "broken",
                PublishRefusal::Failed,
                "the stream is not understood",
            ),
            Ending::Idle => ("idle", PublishRefusal::Failed, "nothing came for too long"),
            Ending::Superseded => (
                "superseded",
                PublishRefusal::BadName,
                "another encoder publishes this stream now",
            ),
            Ending::NoOrigin => (
                "no_origin",
                PublishRefusal::Failed,
                "no origin takes the stream",
            ),
            Ending::LetGo => (
                "let_go",
                PublishRefusal::Failed,
                "this node lets the stream go, connect again",
            ),
        };
        self.count(label);
        self.connection.end_publish(refusal, reason);
        self.flush().await?;
        Ok(Then::Close)
    }

    fn count(&self, event: &str) {
        self.shared
            .metrics
            .publishes
            .with_label_values(&[event])
            .inc();
    }
}
