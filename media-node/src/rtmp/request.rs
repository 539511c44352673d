//! Requests of an RTMP client: to publish or to play a stream.

use media_wire::{InvalidKey, StreamKey};

use crate::auth::Credential;

/// A client's request.
pub(super) enum RtmpRequest {
    Publish(StreamRequest),
    Play(StreamRequest),
}

/// The stream that a client requests, and what it presents for it.
pub(super) struct StreamRequest {
    pub(super) key: Result<StreamKey, InvalidKey>,
    pub(super) credential: Credential,
    /// As the client sent it, for hooks.
    pub(super) tc_url: String,
}

impl StreamRequest {
    pub(super) fn new(tc_url: String, app: &str, stream: &str, vhosts: &[String]) -> Self {
        Self {
            key: StreamKey::from_rtmp(&tc_url, app, stream, vhosts),
            credential: Credential::of_rtmp(&tc_url, app, stream),
            tc_url,
        }
    }
}
