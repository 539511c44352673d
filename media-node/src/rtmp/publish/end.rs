//! Why a publish ends, and how the encoder and the metrics report it.

use std::borrow::Cow;
use std::fmt::Display;

use media_engine::{OutOfMemory, StandbyError};
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::PublishRefusal;

use super::super::connection;
use super::bitrate::BitrateExceeded;
use super::message_rate::TooManyMessages;
use crate::relay::PublishRejection;

/// Reason that a publish ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishEnd {
    /// The encoder ended the stream and may publish another one.
    Unpublished,
    /// The encoder closed the connection.
    Closed,
    /// The encoder sent no message for too long.
    Idle,
    /// Another encoder has taken over the stream.
    Superseded,
    /// The encoder cannot stand by.
    NoStandby(StandbyError),
    /// No origin accepts the stream.
    NoOrigin,
    /// No origin has memory for the stream.
    OriginsOutOfMemory,
    /// The origins have as many streams as they may.
    TooManyStreams,
    /// The encoder violated the protocol or a limit.
    ProtocolError(RtmpError),
    /// A sequence header or metadata of the encoder is too long.
    InitDataTooLong { len: usize, limit: usize },
    /// The memory for media is in use, and the encoder takes more than its share.
    OutOfMemory(OutOfMemory),
    /// The encoder's bitrate is too high.
    BitrateExceeded(BitrateExceeded),
    /// The encoder sends too many messages.
    TooManyMessages(TooManyMessages),
    /// The media node disconnects the encoder.
    Disconnected,
    /// The media node drains, and the encoder was requested to end.
    Drained,
}

impl PublishEnd {
    /// Value of the metric's label `event`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unpublished => "unpublished",
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Superseded => "superseded",
            Self::NoStandby(_) => "no_standby",
            Self::NoOrigin => "no_origin",
            Self::TooManyStreams => "too_many_streams",
            Self::ProtocolError(_) => "protocol_error",
            Self::InitDataTooLong { .. } => "init_data_too_long",
            Self::OutOfMemory(_) | Self::OriginsOutOfMemory => "out_of_memory",
            Self::BitrateExceeded(_) => "bitrate_exceeded",
            Self::TooManyMessages(_) => "too_many_messages",
            Self::Disconnected | Self::Drained => "disconnected",
        }
    }

    /// Returns the label of the limit that the encoder has exceeded.
    pub(super) fn exceeded_limit(&self) -> Option<&'static str> {
        match self {
            Self::ProtocolError(error) => connection::exceeded_limit(error),
            Self::InitDataTooLong { .. } => Some("init_data"),
            Self::BitrateExceeded(_) => Some("publish_bitrate"),
            Self::TooManyMessages(_) => Some("publish_messages"),
            Self::TooManyStreams => Some("origin_streams"),
            Self::NoStandby(StandbyError::TooManyStandbys(_)) => Some("standbys"),
            _ => None,
        }
    }

    /// Returns the error that the encoder gets. `None` where it ended the stream itself, or was sent the error before.
    pub(super) fn refusal(self) -> Option<(PublishRefusal, Cow<'static, str>)> {
        let failed = |reason| Some((PublishRefusal::Failed, Cow::Borrowed(reason)));
        let failed_by =
            |error: &dyn Display| Some((PublishRefusal::Failed, Cow::Owned(error.to_string())));
        match self {
            Self::Unpublished | Self::Closed | Self::Drained => None,
            Self::Idle => failed("no message was received for too long"),
            Self::Superseded => Some((
                PublishRefusal::BadName,
                Cow::Borrowed("another encoder has taken over this stream"),
            )),
            Self::NoStandby(error) => failed_by(&error),
            Self::NoOrigin => failed("no origin accepts the stream"),
            Self::ProtocolError(error) => Some((
                PublishRefusal::Failed,
                Cow::Owned(connection::reason(&error)),
            )),
            Self::InitDataTooLong { len, limit } => Some((
                PublishRefusal::Failed,
                Cow::Owned(format!(
                    "a sequence header or metadata of {len} bytes is above the limit of {limit}"
                )),
            )),
            Self::OriginsOutOfMemory => failed_by(&PublishRejection::OutOfMemory),
            Self::TooManyStreams => failed_by(&PublishRejection::TooManyStreams),
            Self::OutOfMemory(error) => failed_by(&error),
            Self::BitrateExceeded(error) => failed_by(&error),
            Self::TooManyMessages(error) => failed_by(&error),
            Self::Disconnected => failed("this media node disconnects the stream, connect again"),
        }
    }
}
