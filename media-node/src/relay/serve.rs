//! The answering side of `/relay/v1/*`.

mod forwarded;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use media_engine::{Format, PublicationSource, Start, Stream};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::Relay;
use super::body::{Outflow, Until, is_published};
use super::protocol::{
    Conflict, Known, NODE, PUBLICATION, PULL, PUSH, Parameters, ParametersError, Reason, SUPERSEDE,
};
use crate::response::{Body, json, text};
use crate::state::clients::ClientRole;

/// Who asks.
struct Caller {
    peer: SocketAddr,
    node: HeaderValue,
}

impl Caller {
    fn of(request: &Request<Incoming>) -> Self {
        let peer = request.extensions().get::<SocketAddr>().copied();
        let node = request.headers().get(NODE).cloned();
        Self {
            peer: peer.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()),
            node: node.unwrap_or(HeaderValue::from_static("")),
        }
    }
}

/// What a request is told that gets no stream.
#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("`epoch` is missing")]
    NoEpoch,
    #[error("nothing here")]
    NoPath,
    #[error("method not allowed")]
    Method,
    #[error("no publication of it here")]
    NotPublished,
    #[error("an edge keeps no publications of others")]
    NotAnOrigin,
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Nonsense(String),
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("this node is leaving")]
    LetGo,
    #[error("{0:?}")]
    Conflict(Reason),
}

impl Denied {
    fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) | Self::NoEpoch | Self::Nonsense(_) => StatusCode::BAD_REQUEST,
            Self::NoPath | Self::NotPublished => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAnOrigin => StatusCode::FORBIDDEN,
            Self::Full(_) | Self::LetGo => StatusCode::SERVICE_UNAVAILABLE,
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
        }
    }
}

impl Relay {
    /// Answers a request of another node. `worker` is the one that runs the connection.
    pub(crate) async fn serve(&self, request: Request<Incoming>, worker: usize) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let mut answer = match self.answer(request, worker).await {
            Ok(answer) => answer,
            Err(Denied::Conflict(reason)) => json(StatusCode::CONFLICT, &Conflict { reason }),
            Err(denied) => {
                debug!(path, %denied, "relay request denied");
                text(denied.status(), &denied.to_string())
            }
        };
        self.sign(&mut answer);
        answer
    }

    /// Says in an answer which node gives it.
    pub(crate) fn sign<B>(&self, answer: &mut Response<B>) {
        answer.headers_mut().insert(NODE, self.0.node.clone());
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        worker: usize,
    ) -> Result<Response<Body>, Denied> {
        let caller = Caller::of(&request);
        let parse = || Parameters::parse(request.uri().query().unwrap_or_default());
        match (request.uri().path(), request.method()) {
            (PUBLICATION, &Method::GET) => Ok(self.publication(&parse()?).await),
            (PULL, &Method::GET) => self.pull(&parse()?, &caller, worker),
            (SUPERSEDE, &Method::POST) => self.supersede(&parse()?),
            (PUSH, &Method::POST) => {
                let parameters = parse()?;
                self.push(&parameters, &caller, request.into_body()).await
            }
            (PUBLICATION | PULL | SUPERSEDE | PUSH, _) => Err(Denied::Method),
            _ => Err(Denied::NoPath),
        }
    }

    /// Whether there is a publication, or as soon as there is one.
    async fn publication(&self, parameters: &Parameters) -> Response<Body> {
        let deadline = Instant::now() + parameters.wait;
        let mut begun = self.0.begun.subscribe();
        loop {
            begun.borrow_and_update();
            let stream = self.0.registry.find(&parameters.key);
            let known = stream.map(|stream| self.known(&stream)).unwrap_or_default();
            if !known.source.is_empty() {
                return json(StatusCode::OK, &known);
            }
            if !matches!(timeout_at(deadline, begun.changed()).await, Ok(Ok(()))) {
                return json(StatusCode::NOT_FOUND, &known);
            }
        }
    }

    fn known(&self, stream: &Stream) -> Known {
        let (last, sequence) = stream.position().unzip();
        let publication = stream.state().publication;
        let own = publication.filter(|publication| publication.source != PublicationSource::Pulled);
        let source = own.as_ref().map(|publication| match publication.source {
            PublicationSource::Encoder => "encoder",
            PublicationSource::Forwarded | PublicationSource::Pulled => "forwarded",
        });
        // A publication that has not said a word yet has no position.
        let epoch = own.map(|publication| publication.epoch).or(last);
        Known {
            epoch: epoch.map_or(0, |epoch| epoch.0),
            sequence: sequence.filter(|_| last == epoch).unwrap_or(0),
            source: source.unwrap_or_default().to_owned(),
            draining: *self.0.leaving.borrow(),
        }
    }

    fn pull(
        &self,
        parameters: &Parameters,
        caller: &Caller,
        worker: usize,
    ) -> Result<Response<Body>, Denied> {
        let stream = self
            .0
            .registry
            .find(&parameters.key)
            .ok_or(Denied::NotPublished)?;
        if !is_published(&stream.state()) {
            return Err(Denied::NotPublished);
        }
        let start = match (parameters.epoch, parameters.sequence) {
            (Some(epoch), Some(sequence)) => Start::At(epoch, sequence),
            _ => Start::Newest,
        };
        let cursor = stream.subscribe(Format::Relay, start, worker);
        let client = self.enter(
            caller.peer,
            ClientRole::Viewer,
            &parameters.key,
            &caller.node,
        );
        let outflow = Outflow::new(cursor, Until::Unpublished(stream.watch()), Arc::new(client));
        let mut answer = Response::new(outflow.body());
        let media = HeaderValue::from_static("video/x-flv");
        answer.headers_mut().insert(header::CONTENT_TYPE, media);
        Ok(answer)
    }

    fn supersede(&self, parameters: &Parameters) -> Result<Response<Body>, Denied> {
        let by = parameters.epoch.ok_or(Denied::NoEpoch)?;
        let closed = self.0.registry.supersede(&parameters.key, by);
        Ok(json(StatusCode::OK, &closed))
    }
}
