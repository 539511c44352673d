//! RTMP session: handshake and commands until the client publishes or plays, that stream to its end, then the next one.

use std::sync::Arc;
use std::time::Duration;

use media_config::Limits;
use media_wire::StreamKey;
use media_wire::rtmp::server::ServerEvent;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug, debug_span};

use super::connection::{self, AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::request::{self, RtmpRequest, StreamRequest};
use super::stream_rate::StreamRate;
use super::{play, publish};
use crate::delivery::socket::NewConnection;

/// Time to refuse a connection over the limit: handshake and `connect` take two round trips.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Serves one connection to its end.
pub(crate) async fn serve(new: NewConnection, context: Arc<RtmpContext>, worker: usize) {
    let peer = new.peer;
    let span = debug_span!("rtmp", %peer);
    let served = async {
        let limits = &context.config.limits;
        let deadline = Instant::now() + limits.handshake_timeout();
        match new.open_as_idle(deadline, &context.idle).await {
            Ok(socket) => {
                let connection = RtmpConnection::new(socket, peer, limits);
                run(connection, &context, worker, deadline).await;
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

async fn run(
    mut connection: RtmpConnection,
    context: &RtmpContext,
    worker: usize,
    deadline: Instant,
) {
    match serve_requests(&mut connection, context, worker, deadline).await {
        Ok(()) => connection.socket.lingering_close().await,
        Err(error) => {
            let reason = match error {
                ConnectionLost::Timeout => "timeout",
                ConnectionLost::Protocol(_) => "protocol",
                ConnectionLost::Closed | ConnectionLost::Socket(_) | ConnectionLost::Evicted => {
                    return;
                }
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
            context.metrics.refused.with_label_values(&[reason]).inc();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            debug!(%error, cause, "connection lost");
        }
    }
}

async fn serve_requests(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    worker: usize,
    mut deadline: Instant,
) -> Result<(), ConnectionLost> {
    let per_minute = context.config.limits.max_stream_starts_per_minute;
    let mut rate = StreamRate::new(per_minute);
    loop {
        let (idle, mut eviction) = context.idle.enter();
        let request = Box::pin(next_request(connection, &context.config.vhosts));
        let request = tokio::select! {
            request = timeout_at(deadline, request) => request,
            () = eviction.requested() => return Err(ConnectionLost::Evicted),
        };
        drop(idle);
        let request = match request.map_err(|_| ConnectionLost::Timeout)?? {
            Ok(request) => request,
            Err(limit) => {
                context.metrics.exceeded(limit);
                return Ok(());
            }
        };
        if let Err(error) = &request.stream().key
            && let Some(limit) = request::exceeded_limit(error)
        {
            context.metrics.exceeded(limit);
        }
        if !rate.begin(Instant::now().into_std()) {
            context.metrics.exceeded("stream_starts");
            let reason = format!("more than {per_minute} streams in a minute on one connection");
            request.reject(&mut connection.protocol, &reason);
            connection.flush().await?;
            return Ok(());
        }
        let after = match request {
            RtmpRequest::Publish(request) => {
                Box::pin(publish::serve(connection, context, request)).await?
            }
            RtmpRequest::Play(request) => play::serve(connection, context, worker, request).await?,
        };
        if after == AfterStream::Close {
            return Ok(());
        }
        // An encoder starts its next stream without a pause. A silent one counts as dead.
        deadline = Instant::now() + context.config.stream.publish_idle_timeout();
    }
}

/// Returns the next request, or the limit that the client's `connect` has exceeded.
async fn next_request(
    connection: &mut RtmpConnection,
    vhosts: &[String],
) -> Result<Result<RtmpRequest, &'static str>, ConnectionLost> {
    loop {
        match connection.event().await? {
            ServerEvent::Connected {
                app,
                tc_url,
                agent,
                page_url,
            } => {
                if let Err(error) = StreamKey::check_rtmp_lengths(&tc_url, &app, "") {
                    connection.protocol.reject_connect(&error.to_string());
                    connection.flush().await?;
                    return Ok(Err(request::exceeded_limit(&error).unwrap_or("names")));
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
                let request = StreamRequest::new(tc_url, &app, &stream, vhosts);
                return Ok(Ok(RtmpRequest::Publish(request)));
            }
            ServerEvent::Play {
                tc_url,
                app,
                stream,
                ..
            } => {
                let request = StreamRequest::new(tc_url, &app, &stream, vhosts);
                return Ok(Ok(RtmpRequest::Play(request)));
            }
            _ => {}
        }
    }
}
