//! Pulling from a foreign RTMP server, once for all viewers of a stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::HeaderValue;
use media_engine::{
    Appended, DuplicatePolicy, Publication, PublicationSource, Stream, announced_tracks,
};
use media_wire::Message;
use media_wire::flv::Tracks;
use media_wire::media::{Av1Configuration, KeyframeFlags, use_coded_frames};
use media_wire::rtmp::ClientEvent;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

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
    #[error("no server sends it")]
    NotFound,
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

/// Time for which the servers that were asked may send nothing until the next one is asked, too. SRS and nginx-rtmp accept a request for
/// any stream, and wait for an encoder.
const NEXT_SERVER: Duration = Duration::from_millis(500);

/// Pulls from the first server that sends the stream. Returns whether one did.
pub(super) async fn pull_from_servers(context: &RelayContext, stream: &Arc<Stream>) -> bool {
    let _active = ActiveRelay::new(&context.metrics.pulls);
    let mut pull = ServerPull {
        context,
        stream,
        publication: None,
        announced: Tracks::default(),
        keyframe_flags: KeyframeFlags::default(),
        av1: Av1Configuration::default(),
        messages: 0,
    };
    let (end, server) = match pull.find().await {
        Ok(source) => {
            let server = source.server.address();
            (pull.receive(source).await, server)
        }
        Err(end) => (end, "none"),
    };
    let (key, messages) = (stream.key(), pull.messages);
    if messages > 0 {
        info!(stream = %key, server, messages, reason = %end, "pull ended");
        return true;
    }
    debug!(stream = %key, server, reason = %end, "pull ended without a message");
    matches!(end, ServerPullEnd::NoViewers | ServerPullEnd::PublishedHere)
}

struct ServerPull<'a> {
    context: &'a RelayContext,
    stream: &'a Arc<Stream>,
    publication: Option<Publication>,
    /// The tracks that the newest metadata announce.
    announced: Tracks,
    keyframe_flags: KeyframeFlags,
    av1: Av1Configuration,
    messages: u64,
}

/// A server that sends the stream.
struct Source<'a> {
    server: &'a RtmpServer,
    link: RtmpLink,
    first: Message,
}

impl<'a> ServerPull<'a> {
    /// Asks one server after another, and returns the first one that sends the stream.
    async fn find(&self) -> Result<Source<'a>, ServerPullEnd> {
        let mut servers = self.context.settings.rtmp_servers.iter();
        let mut asked = FuturesUnordered::new();
        let mut no_viewers = pin!(no_viewers(self.context, self.stream));
        let idle = sleep(self.context.settings.stream.publish_idle_timeout());
        let mut idle = pin!(idle);
        loop {
            asked.extend(servers.next().map(|server| self.ask(server)));
            let is_last = servers.len() == 0;
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Ok(source)) => return Ok(source),
                    Some(Err(_)) => {}
                    None => return Err(ServerPullEnd::NotFound),
                },
                () = sleep(NEXT_SERVER), if !is_last => {}
                () = &mut no_viewers => return Err(ServerPullEnd::NoViewers),
                () = &mut idle => return Err(ServerPullEnd::NotFound),
            }
        }
    }

    /// Returns a server with its first message.
    async fn ask(&self, server: &'a RtmpServer) -> Result<Source<'a>, RtmpServerError> {
        let limit = self.context.settings.limits.get().max_message_bytes();
        let first = async {
            let mut link = server
                .open(self.stream.key(), Direction::Play, limit)
                .await?;
            loop {
                match link.event().await? {
                    ClientEvent::Media(first) => {
                        return Ok(Source {
                            server,
                            link,
                            first,
                        });
                    }
                    ClientEvent::Ended => return Err(RtmpServerError::Closed),
                    ClientEvent::Status(status) if status.is_error() => {
                        return Err(RtmpServerError::Refused(status.code));
                    }
                    ClientEvent::Status(_) | ClientEvent::Ready => {}
                }
            }
        };
        first.await.inspect_err(|error| {
            let (stream, server) = (self.stream.key(), server.address());
            debug!(%stream, server, %error, "the server does not send the stream");
            self.context.metrics.failures.inc();
        })
    }

    async fn receive(&mut self, source: Source<'_>) -> ServerPullEnd {
        let (context, key) = (self.context, self.stream.key());
        let (mut link, mut received) = (source.link, Some(source.first));
        let agent = HeaderValue::from_static("rtmp");
        let client = context.add_client(link.peer(), ClientRole::Publisher, key, &agent);
        let idle_timeout = context.settings.stream.publish_idle_timeout();
        let mut no_viewers = pin!(no_viewers(context, self.stream));
        let mut pulse = None;
        let mut idle = Instant::now() + idle_timeout;
        loop {
            if let Some(message) = received.take() {
                idle = Instant::now() + idle_timeout;
                client.received(message.payload.len());
                if let Err(end) = self.complete_and_append(message) {
                    return end;
                }
                pulse = self.pulse();
            }
            let due = pulse.map_or(idle, |pulse: Instant| pulse.min(idle));
            tokio::select! {
                event = link.event() => match event {
                    Ok(ClientEvent::Media(message)) => received = Some(message),
                    Ok(ClientEvent::Ended) => return ServerPullEnd::Unpublished,
                    Ok(ClientEvent::Status(status)) if status.is_error() => {
                        return ServerPullEnd::Lost(status.code);
                    }
                    Ok(ClientEvent::Status(_) | ClientEvent::Ready) => {}
                    Err(error) => return error.into(),
                },
                () = sleep_until(due) => {
                    if Instant::now() >= idle {
                        return ServerPullEnd::Lost("no message for too long".to_owned());
                    }
                    pulse = self.pulse();
                }
                () = &mut no_viewers => return ServerPullEnd::NoViewers,
                () = client.kicked() => return ServerPullEnd::Lost("kicked".to_owned()),
            }
        }
    }

    /// Appends a message, with what MediaMTX leaves out, as encoders do.
    fn complete_and_append(&mut self, mut message: Message) -> Result<(), ServerPullEnd> {
        if self.keyframe_flags.add_missing(&mut message) {
            let (stream, codec) = (self.stream.key(), message.header().codec);
            let codec = codec.map(tracing::field::debug);
            warn!(%stream, codec, "the server does not flag keyframes, so they are found by their content");
        }
        use_coded_frames(&mut message);
        if self.av1.hold(&message) {
            return Ok(());
        }
        if let Some(configuration) = self.av1.release(&message) {
            self.append(configuration)?;
        }
        self.append(message)
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

/// Waits until the stream has had no viewers for the linger time.
async fn no_viewers(context: &RelayContext, stream: &Stream) {
    let linger = context.settings.stream.linger();
    let mut readers = stream.watch_readers();
    // The sender lives as long as the stream.
    while readers.wait_for(|it| it.viewers == 0).await.is_ok() {
        let returned = readers.wait_for(|it| it.viewers > 0);
        if timeout(linger, returned).await.is_err() {
            return;
        }
    }
}
