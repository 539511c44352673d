//! Relays between nodes. A placeholder: the node is alone.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use media_config::{Limits, Role, StreamSettings};
use media_engine::{Registry, Stream};
use media_wire::StreamKey;
use media_wire::relay::Epoch;

use crate::origins::Origins;

/// Runs a future on one of the node's workers; the closure is told the worker's index.
pub(crate) type Spawn = Arc<dyn Fn(Start) + Send + Sync>;

/// What makes the future for a worker.
pub(crate) type Start = Box<dyn FnOnce(usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

#[derive(Clone)]
pub(crate) struct Relay;

pub(crate) struct RelaySettings {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) stream: StreamSettings,
    pub(crate) limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the stream is already published")]
    AlreadyPublished,
    #[error("no origin can be reached")]
    NoOrigin,
    #[error("a newer publisher has taken the stream over")]
    Superseded,
}

pub(crate) struct RelayCounts {
    pub(crate) pulls: usize,
    pub(crate) pushes: usize,
}

pub(crate) struct Carried;

impl Carried {
    pub(crate) async fn refused(&mut self) -> Refusal {
        pending().await
    }
}

impl Relay {
    pub(crate) fn new(_: RelaySettings, _: Registry, _: Option<Origins>, _: Spawn) -> Self {
        Self
    }

    pub(crate) fn want(&self, _: &Arc<Stream>) {}

    pub(crate) fn nobody_has(&self, _: &Arc<Stream>) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    pub(crate) async fn admit(&self, _: &StreamKey) -> Result<Epoch, Refusal> {
        Ok(crate::shared::now())
    }

    pub(crate) fn published(&self, _: &Arc<Stream>, _: Epoch) -> Carried {
        Carried
    }

    pub(crate) fn leave(&self) {}

    pub(crate) async fn serve(&self, _: Request<Incoming>, _: usize) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        answer
    }

    pub(crate) fn counts(&self) -> RelayCounts {
        RelayCounts {
            pulls: 0,
            pushes: 0,
        }
    }
}
