//! RTMP session: handshake and commands until the client publishes or plays, that stream to its end, then the next one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use media_config::Limits;
use media_wire::InvalidKey;
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::ServerEvent;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug, debug_span, info};

use super::connection::{self, AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::play::{self, RtmpViewer};
use super::publish;
use super::request::{PlayDuration, RtmpRequest, StreamRequest};
use super::session_state::SessionState;
use super::stream_rate::StreamRate;
use crate::delivery::finder::Play;
use crate::delivery::socket::NewConnection;
use crate::state::admitted::Admitted;

/// Time to refuse a connection over the limit: handshake and `connect` take two round trips.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Serves one connection to its end.
pub(crate) async fn serve(
    new: NewConnection,
    context: Arc<RtmpContext>,
    worker: usize,
    admitted: Admitted,
) {
    let peer = new.peer;
    let span = debug_span!("rtmp", %peer);
    let served = async {
        let limits = context.limits.get();
        let deadline = Instant::now() + limits.handshake_timeout();
        match new.open_as_idle(deadline, &context.idle).await {
            Ok(socket) => {
                let session = SessionState {
                    connection: RtmpConnection::new(socket, peer, &limits),
                    rate: StreamRate::new(limits.max_stream_starts_per_minute),
                    context,
                    worker,
                    deadline,
                    resume,
                    admitted,
                };
                run(session).await;
            }
            Err(error) => debug!(%error, cause = error.cause(), "connection lost"),
        }
    };
    served.instrument(span).await;
}

/// Refuses a connection over the limit with an RTMP error.
pub(crate) async fn refuse(new: NewConnection, limits: &Limits, reason: &str) {
    let deadline = Instant::now() + REFUSAL_TIMEOUT;
    let refused = async {
        let peer = new.peer;
        let opened = new.open(deadline).await;
        let socket = opened.map_err(|_| ConnectionLost::Closed)?;
        let mut connection = RtmpConnection::new(socket, peer, limits);
        while !matches!(connection.event().await?, ServerEvent::Connected { .. }) {}
        connection.protocol.reject_connect(reason);
        connection.flush().await?;
        connection.socket.lingering_close().await;
        Ok::<_, ConnectionLost>(())
    };
    drop(timeout_at(deadline, refused).await);
}

/// Serves requests until the connection ends or plays. A stream that plays has a task of its own, which calls [`resume`].
async fn run(mut session: SessionState) {
    match serve_requests(&mut session).await {
        Ok(Some((play, duration))) => RtmpViewer::start(session, play, duration).await,
        Ok(None) => close(session, Ok(())).await,
        Err(error) => close(session, Err(error)).await,
    }
}

/// Continues after a stream has been played, in a task of its own.
fn resume(mut session: SessionState, after: Result<AfterStream, ConnectionLost>) {
    session.deadline = Instant::now() + session.context.config.stream.publish_idle_timeout();
    let span = debug_span!("rtmp", peer = %session.connection.peer);
    let session: BoxFuture<'static, ()> = match after {
        Ok(AfterStream::Continue) => Box::pin(run(session)),
        Ok(AfterStream::Close) => Box::pin(close(session, Ok(()))),
        Err(error) => Box::pin(close(session, Err(error))),
    };
    tokio::spawn(session.instrument(span));
}

/// Closes the connection, after the last bytes if the client can still read them.
async fn close(mut session: SessionState, result: Result<(), ConnectionLost>) {
    let SessionState {
        connection,
        context,
        ..
    } = &mut session;
    let Err(error) = result else {
        return connection.socket.lingering_close().await;
    };
    let reason = match error {
        ConnectionLost::Timeout => "timeout",
        ConnectionLost::Protocol(_) => "protocol",
        ConnectionLost::Closed | ConnectionLost::Socket(_) | ConnectionLost::Evicted => return,
    };
    if let ConnectionLost::Protocol(error) = &error
        && let Some(limit) = connection::exceeded_limit(error)
    {
        context.metrics.exceeded(limit);
        connection.protocol.close(&connection::reason(error));
        if connection.flush().await.is_ok() {
            connection.socket.lingering_close().await;
        }
    }
    if let ConnectionLost::Protocol(RtmpError::Handshake(reason)) = &error
        && context.log_rate.permits()
    {
        let peer = connection.peer;
        info!(%peer, %reason, "not an RTMP client");
    }
    context.metrics.connections.refused.of([reason]).inc();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    debug!(%error, cause, "connection lost");
}

/// Returns a stream to play, or `None` when the connection is to be closed.
async fn serve_requests(
    session: &mut SessionState,
) -> Result<Option<(Play, PlayDuration)>, ConnectionLost> {
    let SessionState {
        connection,
        context,
        worker,
        rate,
        deadline,
        ..
    } = session;
    loop {
        let (idle, mut eviction) = context.idle.enter(connection.peer.ip());
        let request = Box::pin(next_request(connection, context));
        let request = tokio::select! {
            request = timeout_at(*deadline, request) => request,
            () = eviction.requested() => return Err(ConnectionLost::Evicted),
        };
        drop(idle);
        let request = match request.map_err(|_| ConnectionLost::Timeout)?? {
            Ok(request) => request,
            Err(error) => {
                context.metrics.connections.count_invalid_key(&error);
                return Ok(None);
            }
        };
        if let Err(error) = &request.stream().key {
            context.metrics.connections.count_invalid_key(error);
        }
        if let Err(reason) = begin_stream(rate, context, connection.peer.ip()) {
            request.reject(&mut connection.protocol, &reason);
            connection.flush().await?;
            return Ok(None);
        }
        let after = match request {
            RtmpRequest::Publish(request) => {
                Box::pin(publish::serve(connection, context, request)).await?
            }
            RtmpRequest::Play(request, duration) => {
                let play = play::accept(connection, context, *worker, request).await?;
                return Ok(play.map(|play| (play, duration)));
            }
        };
        if after == AfterStream::Close {
            return Ok(None);
        }
        // An encoder starts its next stream without a pause. A silent one counts as dead.
        *deadline = Instant::now() + context.config.stream.publish_idle_timeout();
    }
}

/// Counts a stream of a connection, or returns why it has begun too many.
fn begin_stream(rate: &mut StreamRate, context: &RtmpContext, peer: IpAddr) -> Result<(), String> {
    let (is_further, now) = (rate.has_begun(), Instant::now().into_std());
    if !rate.begin(now) {
        context.metrics.exceeded("stream_starts");
        let limit = rate.limit();
        return Err(format!(
            "more than {limit} streams in a minute on one connection"
        ));
    }
    if !is_further {
        return Ok(());
    }
    let begun = context.addresses.begin_stream(peer, now);
    begun.map_err(|limit| {
        let refused = &context.metrics.connections.refused;
        refused.of([limit.label()]).inc();
        limit.reason().to_owned()
    })
}

/// Returns the next request, or the limit that the client's `connect` exceeds.
async fn next_request(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
) -> Result<Result<RtmpRequest, InvalidKey>, ConnectionLost> {
    loop {
        match connection.event().await? {
            ServerEvent::Connected {
                app,
                tc_url,
                agent,
                page_url,
            } => {
                if let Err(error) = context.limits.names().check_rtmp(&tc_url, &app, "") {
                    connection.protocol.reject_connect(&error.to_string());
                    connection.flush().await?;
                    return Ok(Err(error));
                }
                connection.agent = agent;
                connection.page_url = page_url;
                connection.protocol.accept_connect();
            }
            ServerEvent::Publish {
                tc_url,
                app,
                stream,
            } => {
                let request = StreamRequest::new(tc_url, &app, &stream, context);
                return Ok(Ok(RtmpRequest::Publish(request)));
            }
            ServerEvent::Play {
                tc_url,
                app,
                stream,
                duration,
            } => {
                let request = StreamRequest::new(tc_url, &app, &stream, context);
                return Ok(Ok(RtmpRequest::Play(request, duration)));
            }
            _ => {}
        }
    }
}
