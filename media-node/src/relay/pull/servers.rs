//! Pulling from a foreign RTMP server, once for all viewers of a stream.

use std::sync::Arc;

use http::HeaderValue;
use media_engine::{
    Appended, DuplicatePolicy, Publication, PublicationSource, Stream, announced_tracks,
};
use media_wire::Message;
use media_wire::flv::Tracks;
use media_wire::rtmp::ClientEvent;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::super::active_relay::ActiveRelay;
use super::super::conflict::local_epoch;
use super::super::context::RelayContext;
use super::super::rtmp_server::{Direction, RtmpLink, RtmpServer, RtmpServerError};
use crate::state::clients::ClientRole;

/// Why a pull from a server ended.
#[derive(Debug, thiserror::Error)]
enum ServerPullEnd {
    #[error("the stream had no viewers for the linger time")]
    NoViewers,
    #[error("an encoder publishes the stream here")]
    PublishedHere,
    #[error("the server ended the stream")]
    Unpublished,
    #[error("{0}")]
    Lost(String),
}

impl From<RtmpServerError> for ServerPullEnd {
    fn from(error: RtmpServerError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Pulls from the first server that sends the stream. Returns whether one did.
pub(super) async fn pull_from_servers(context: &RelayContext, stream: &Arc<Stream>) -> bool {
    for server in &context.settings.rtmp_servers {
        let _active = ActiveRelay::new(&context.metrics.pulls);
        let mut pull = ServerPull {
            context,
            stream,
            publication: None,
            announced: Tracks::default(),
            messages: 0,
        };
        let end = pull.run(server).await;
        let (key, messages, server) = (stream.key(), pull.messages, server.address());
        if messages > 0 {
            info!(stream = %key, server, messages, reason = %end, "pull ended");
            return true;
        }
        debug!(stream = %key, server, reason = %end, "the server does not send the stream");
        if matches!(end, ServerPullEnd::NoViewers | ServerPullEnd::PublishedHere) {
            return true;
        }
        context.metrics.failures.inc();
    }
    false
}

struct ServerPull<'a> {
    context: &'a RelayContext,
    stream: &'a Arc<Stream>,
    publication: Option<Publication>,
    /// The tracks that the newest metadata announce.
    announced: Tracks,
    messages: u64,
}

impl ServerPull<'_> {
    async fn run(&mut self, server: &RtmpServer) -> ServerPullEnd {
        let limit = self.context.settings.limits.get().max_message_bytes();
        let link = server.open(self.stream.key(), Direction::Play, limit).await;
        match link {
            Ok(link) => self.receive(link).await,
            Err(error) => error.into(),
        }
    }

    async fn receive(&mut self, mut link: RtmpLink) -> ServerPullEnd {
        let (context, key) = (self.context, self.stream.key());
        let agent = HeaderValue::from_static("rtmp");
        let client = context.add_client(link.peer(), ClientRole::Publisher, key, &agent);
        let settings = &context.settings.stream;
        let mut readers = self.stream.watch_readers();
        let (mut linger, mut pulse) = (None, None);
        let mut idle = Instant::now() + settings.publish_idle_timeout();
        loop {
            let due = [Some(idle), linger, pulse].into_iter().flatten().min();
            tokio::select! {
                event = link.event() => match event {
                    Ok(ClientEvent::Media(message)) => {
                        idle = Instant::now() + settings.publish_idle_timeout();
                        client.received(message.payload.len());
                        if let Err(end) = self.append(message) {
                            return end;
                        }
                        pulse = self.pulse();
                    }
                    Ok(ClientEvent::Ended) => return ServerPullEnd::Unpublished,
                    Ok(ClientEvent::Status(status)) if status.is_error() => {
                        return ServerPullEnd::Lost(status.code);
                    }
                    Ok(ClientEvent::Status(_) | ClientEvent::Ready) => {}
                    Err(error) => return error.into(),
                },
                () = sleep_until(due.unwrap_or(idle)) => {
                    let now = Instant::now();
                    if now >= idle {
                        return ServerPullEnd::Lost("no message for too long".to_owned());
                    }
                    if linger.is_some_and(|linger| now >= linger) {
                        return ServerPullEnd::NoViewers;
                    }
                    pulse = self.pulse();
                }
                _ = readers.changed() => {
                    let viewers = readers.borrow_and_update().viewers;
                    linger = match viewers {
                        0 => linger.or_else(|| Some(Instant::now() + settings.linger())),
                        _ => None,
                    };
                }
                () = client.kicked() => return ServerPullEnd::Lost("kicked".to_owned()),
            }
        }
    }

    /// Appends a message. The first one starts the publication here, and so does the first one of an encoder with fewer tracks.
    fn append(&mut self, message: Message) -> Result<(), ServerPullEnd> {
        if self.is_other_encoder(&message) {
            self.publication = None;
        }
        if self.publication.is_none() {
            self.publication = Some(self.publish()?);
        }
        let Some(publication) = &mut self.publication else {
            return Ok(());
        };
        match publication.append(message) {
            Appended::Superseded => Err(ServerPullEnd::PublishedHere),
            _ => {
                self.messages += 1;
                Ok(())
            }
        }
    }

    /// Returns whether a message begins the stream of another encoder, which lacks a track. The server does not say that the former one
    /// has ended, and viewers who join would start at its last keyframe, and wait for its track.
    fn is_other_encoder(&mut self, message: &Message) -> bool {
        let Some(announced) = announced_tracks(message) else {
            return false;
        };
        let before = std::mem::replace(&mut self.announced, announced);
        (before.audio && !announced.audio) || (before.video && !announced.video)
    }

    fn publish(&self) -> Result<Publication, ServerPullEnd> {
        let (context, key) = (self.context, self.stream.key());
        if self.stream.state().publication.is_some() {
            return Err(ServerPullEnd::PublishedHere);
        }
        let (source, policy) = (PublicationSource::Pulled, DuplicatePolicy::Takeover);
        let (epoch, now) = (local_epoch(context, key), Instant::now().into_std());
        let published = context.registry.publish(key, epoch, source, policy, now);
        info!(stream = %key, epoch = epoch.0, "pulling from an RTMP server");
        published.map_err(|error| ServerPullEnd::Lost(error.to_string()))
    }

    fn pulse(&mut self) -> Option<Instant> {
        let due = self.publication.as_mut()?.pulse(Instant::now().into_std());
        due.map(Instant::from_std)
    }
}
