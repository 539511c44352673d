//! What a client requests and sends, and the reasons for which a request is refused.

use std::time::Duration;

#[cfg(doc)]
use super::ServerConnection;
use crate::Message;

/// A request or message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// The client has sent `connect`. Answer with [`ServerConnection::accept_connect`] or
    /// [`reject_connect`](ServerConnection::reject_connect).
    Connected {
        /// The application, with its parameters.
        app: String,
        /// The URL up to the application.
        tc_url: String,
        /// The client's name (`flashVer`) without control characters. It can be empty.
        agent: String,
        /// URL of the page that embeds the client (`pageUrl`), which most clients do not send.
        page_url: String,
    },
    /// The client requests to publish. Answer with [`ServerConnection::accept_publish`] or
    /// [`reject_publish`](ServerConnection::reject_publish).
    Publish {
        /// As in `Connected`.
        app: String,
        /// As in `Connected`.
        tc_url: String,
        /// The stream, with its parameters.
        stream: String,
    },
    /// The client requests to play. Answer with [`ServerConnection::accept_play`] or
    /// [`reject_play`](ServerConnection::reject_play).
    Play {
        /// As in `Connected`.
        app: String,
        /// As in `Connected`.
        tc_url: String,
        /// The stream, with its parameters.
        stream: String,
        /// Time that the client wants to play, if not to the end of the stream. Answer its end with
        /// [`complete_play`](ServerConnection::complete_play).
        duration: Option<Duration>,
    },
    /// A message of the stream that the client publishes.
    Media(Message),
    /// The viewer pauses (true) or resumes. The response is already sent.
    Pause(bool),
    /// The client has ended its stream. It can publish again.
    Unpublish,
    /// The client has stopped playing. It can play again.
    StopPlay,
    /// Many messages without an event. The driver may give others their turn: such a message can be a byte, and a read has tens of
    /// thousands of them.
    Skipped,
}

/// The reason of a refused publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// The name is invalid or in use.
    BadName,
    /// The client is not authorized.
    Denied,
    /// The server has failed.
    Failed,
}

/// The reason of a refused play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayRefusal {
    /// The stream does not exist.
    StreamNotFound,
    /// The server has failed.
    Failed,
}
