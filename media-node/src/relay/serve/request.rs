//! A request of another media node, and the errors that answer it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use media_engine::OutOfMemory;

use super::super::protocol::{ConflictReason, NODE, ParametersError};

/// The media node that sent a request.
pub(super) struct PeerNode {
    pub(super) address: SocketAddr,
    /// The media node's id; empty when it sent none.
    pub(super) node: HeaderValue,
}

impl PeerNode {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let address = request.extensions().get::<SocketAddr>().copied();
        let node = request.headers().get(NODE).cloned();
        Self {
            address: address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()),
            node: node.unwrap_or(HeaderValue::from_static("")),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayRequestError {
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("`epoch` is missing")]
    NoEpoch,
    #[error("no such path")]
    NoPath,
    #[error("method not allowed")]
    Method,
    #[error("the stream is not published here")]
    NotPublished,
    #[error("this media node is an edge")]
    NotAnOrigin,
    #[error("{0}")]
    TooManyStreams(String),
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    #[error("{0}")]
    InvalidBody(String),
    #[error("no message for {0:?}")]
    Idle(Duration),
    #[error("this media node disconnects the stream")]
    Disconnected,
    #[error("the publication moved to another origin")]
    Moved,
    #[error("another request forwards the publication")]
    ForwardedAgain,
    #[error("the log that the publication would continue has just been given up")]
    LogGivenUp,
    #[error("publication conflict: {0:?}")]
    Conflict(ConflictReason),
}

impl RelayRequestError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) | Self::NoEpoch | Self::InvalidBody(_) => StatusCode::BAD_REQUEST,
            Self::NoPath | Self::NotPublished => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAnOrigin => StatusCode::FORBIDDEN,
            Self::Disconnected | Self::Moved | Self::ForwardedAgain => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::LogGivenUp => StatusCode::PRECONDITION_FAILED,
            Self::TooManyStreams(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::OutOfMemory(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
        }
    }
}
