//! The server of `/relay/v1/*`.

mod forward;
mod indirect;
mod request;

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use media_engine::{Format, PublicationSource, Start, Stream};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::body::{EndCondition, RelayBody};
use super::context::{RelayContext, is_published};
use super::protocol::{
    ConflictBody, FORWARD, PUBLICATION, PULL, Parameters, PublicationStatus, SLATE, SUPERSEDE,
};
use crate::response::{Body, json, text};
use crate::state::clients::ClientRole;
use forward::receive_forwarded;
use indirect::{publication_elsewhere, pull_indirectly};
use request::{PeerNode, RelayRequestError};

/// Responds to a request of another media node. `worker` is the one that runs the connection.
pub(super) async fn serve(
    context: &Arc<RelayContext>,
    request: Request<Incoming>,
    worker: usize,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match respond(context, request, worker).await {
        Ok(response) => response,
        Err(RelayRequestError::Conflict(reason)) => {
            json(StatusCode::CONFLICT, &ConflictBody { reason })
        }
        Err(error) => {
            debug!(path, %error, "relay request refused");
            text(error.status(), &error.to_string())
        }
    }
}

async fn respond(
    context: &Arc<RelayContext>,
    request: Request<Incoming>,
    worker: usize,
) -> Result<Response<Body>, RelayRequestError> {
    let peer = PeerNode::of(&request);
    let parse = || Parameters::parse(request.uri().query().unwrap_or_default());
    match (request.uri().path(), request.method()) {
        (PUBLICATION, &Method::GET) => {
            let parameters = parse()?;
            note_need(context, &parameters, &peer);
            Ok(publication(context, &parameters, &peer).await)
        }
        (PULL, &Method::GET) => {
            let parameters = parse()?;
            note_need(context, &parameters, &peer);
            if parameters.indirect && !is_published_here(context, &parameters.key) {
                let response = pull_indirectly(context, &parameters, &peer).await;
                if response.is_ok() {
                    return response;
                }
            }
            pull(context, &parameters, &peer, worker)
        }
        (SUPERSEDE, &Method::POST) => supersede(context, &parse()?, &peer),
        (FORWARD, &Method::POST) => {
            let parameters = parse()?;
            receive_forwarded(context, &parameters, &peer, request.into_body()).await
        }
        (PUBLICATION | PULL | SUPERSEDE | FORWARD, _) => Err(RelayRequestError::Method),
        _ => Err(RelayRequestError::NoPath),
    }
}

/// Notes what a media node needs next for viewers who stayed.
fn note_need(context: &RelayContext, parameters: &Parameters, peer: &PeerNode) {
    if let Some(position) = parameters.epoch.zip(parameters.sequence) {
        context.needs.note(&parameters.key, &peer.node, position);
    }
}

/// Responds when there is a publication, or when the time to wait for one is over. An indirect request waits for the other origins.
async fn publication(
    context: &RelayContext,
    parameters: &Parameters,
    peer: &PeerNode,
) -> Response<Body> {
    let mut elsewhere = pin!(publication_elsewhere(context, parameters));
    let deadline = Instant::now() + parameters.wait;
    let mut wait = context.awaited.wait_for(&parameters.key);
    loop {
        let status = |key| {
            let stream = context.registry.find(key);
            stream.map(|stream| status(context, &stream))
        };
        let also = parameters.also.iter().map(status);
        let needed = |epoch| context.needs.of(&parameters.key, epoch);
        let status = PublicationStatus {
            needed: parameters.epoch.map(needed),
            served: Some(context.served.has(&parameters.key, &peer.node)),
            also: also.map(Option::unwrap_or_default).collect(),
            ..status(&parameters.key).unwrap_or_default()
        };
        if !status.source.is_empty() {
            return json(StatusCode::OK, &status);
        }
        tokio::select! {
            () = wait.started() => {}
            elsewhere = &mut elsewhere, if parameters.indirect => {
                let code = elsewhere.as_ref().map_or(StatusCode::NOT_FOUND, |_| StatusCode::OK);
                return json(code, &elsewhere.unwrap_or(status));
            }
            () = sleep_until(deadline), if !parameters.indirect => {
                return json(StatusCode::NOT_FOUND, &status);
            }
        }
    }
}

fn status(context: &RelayContext, stream: &Stream) -> PublicationStatus {
    let now = Instant::now().into_std();
    let (last, sequence) = stream.position().unzip();
    let publication = stream.state().publication;
    let own = publication.filter(|publication| !publication.source.is_copy());
    let source = own.as_ref().map(|publication| match publication.source {
        PublicationSource::Encoder => "encoder",
        PublicationSource::Forwarded | PublicationSource::Pulled => "forwarded",
        PublicationSource::Slate | PublicationSource::PulledSlate => SLATE,
    });
    let priority = own.as_ref().map(|publication| publication.priority);
    let silence = own.as_ref().and_then(|_| stream.silence(now));
    // A publication without messages has no position.
    let epoch = own.map(|publication| publication.epoch).or(last);
    PublicationStatus {
        epoch: epoch.map_or(0, |epoch| epoch.0),
        sequence: sequence.filter(|_| last == epoch).unwrap_or(0),
        source: source.unwrap_or_default().to_owned(),
        draining: context.is_draining(),
        priority: priority.unwrap_or_default(),
        silent_milliseconds: silence.map_or(0, |silence| {
            u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)
        }),
        successor: context.successors.of(stream.key()).map_or(0, |it| it.0),
        indirect: false,
        relays: Some(stream.readers().relays),
        arrived: context.arrived.of(stream.key()),
        needed: None,
        served: None,
        also: Vec::new(),
    }
}

fn pull(
    context: &RelayContext,
    parameters: &Parameters,
    peer: &PeerNode,
    worker: usize,
) -> Result<Response<Body>, RelayRequestError> {
    let stream = context.registry.find(&parameters.key);
    let stream = stream.ok_or(RelayRequestError::NotPublished)?;
    let position = parameters.epoch.zip(parameters.sequence);
    if !is_published(&stream.state()) && !has_tail(&stream, position) {
        return Err(RelayRequestError::NotPublished);
    }
    let start = match position {
        Some((epoch, sequence)) if parameters.resume => Start::Resume(epoch, sequence),
        Some((epoch, sequence)) => Start::At(epoch, sequence),
        None => Start::Newest,
    };
    let cursor = stream.subscribe(Format::Relay, start, worker);
    let client = context.add_client(
        peer.address,
        ClientRole::Viewer,
        &parameters.key,
        &peer.node,
    );
    let end = EndCondition::Unpublished(stream.watch());
    let served = context.served.begin(&parameters.key, &peer.node);
    let body = RelayBody::new(cursor, end, Arc::new(client)).serving(served);
    let mut response = Response::new(body.boxed());
    let media = HeaderValue::from_static("video/x-flv");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

fn is_published_here(context: &RelayContext, key: &StreamKey) -> bool {
    let stream = context.registry.find(key);
    stream.is_some_and(|stream| is_published(&stream.state()))
}

/// Returns whether the log has messages after this position. Their publication may be over: they are for viewers whose media node lost
/// its upstream just before. If it goes on, and this media node pulls it, those who cannot reach its origin get what follows from
/// here, but skip nothing: the origin may still have it when they reach it again.
fn has_tail(stream: &Stream, position: Option<(Epoch, u64)>) -> bool {
    let Some((position, end)) = position.zip(stream.position()) else {
        return false;
    };
    let is_over = || stream.state().publication.is_none();
    position < end && (is_over() || stream.has_message(position.0, position.1))
}

/// Ends a publication that is older than the announced one, and responds with what is published here afterwards.
fn supersede(
    context: &RelayContext,
    parameters: &Parameters,
    peer: &PeerNode,
) -> Result<Response<Body>, RelayRequestError> {
    let by = parameters.epoch.ok_or(RelayRequestError::NoEpoch)?;
    context.notice_origin(peer.address.ip());
    context.registry.supersede(&parameters.key, by);
    let stream = context.registry.find(&parameters.key);
    let status = stream.map(|stream| status(context, &stream));
    Ok(json(StatusCode::OK, &status.unwrap_or_default()))
}
