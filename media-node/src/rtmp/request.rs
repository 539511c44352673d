//! Requests of an RTMP client: to publish or to play a stream.

use std::time::Duration;

use media_wire::rtmp::server::{PlayRefusal, PublishRefusal, ServerConnection};
use media_wire::{InvalidKey, StreamKey};

use super::context::RtmpContext;
use crate::auth::Credential;

/// A client's request.
pub(super) enum RtmpRequest {
    Publish(StreamRequest),
    Play(StreamRequest, PlayDuration),
}

/// Time that a client wants to play. `None` is to the end of the stream.
pub(super) type PlayDuration = Option<Duration>;

impl RtmpRequest {
    pub(super) fn stream(&self) -> &StreamRequest {
        match self {
            Self::Publish(request) | Self::Play(request, _) => request,
        }
    }

    /// Refuses the request.
    pub(super) fn reject(&self, protocol: &mut ServerConnection, reason: &str) {
        match self {
            Self::Publish(_) => protocol.reject_publish(PublishRefusal::Failed, reason),
            Self::Play(..) => protocol.reject_play(PlayRefusal::Failed, reason),
        }
    }
}

/// The stream that a client requests, and what it presents for it.
pub(super) struct StreamRequest {
    pub(super) key: Result<StreamKey, InvalidKey>,
    pub(super) credential: Credential,
    /// As the client sent it, for hooks.
    pub(super) tc_url: String,
}

impl StreamRequest {
    pub(super) fn new(tc_url: String, app: &str, stream: &str, context: &RtmpContext) -> Self {
        let (vhosts, limits) = (&context.config.vhosts, context.limits.names());
        let key = StreamKey::from_rtmp(&tc_url, app, stream, vhosts, &limits);
        let credential = match &key {
            // The parameters are within their limits.
            Ok(_) => Credential::of_rtmp(&tc_url, app, stream),
            Err(_) => Credential::default(),
        };
        Self {
            key,
            credential,
            tc_url,
        }
    }
}
