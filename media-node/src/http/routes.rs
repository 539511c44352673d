//! Requests of one connection: each is parsed and answered, until one of them requests a stream.

use std::io;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use media_wire::StreamKey;
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug, info};

use super::body::BodyFraming;
use super::connection::{AfterResponse, HttpConnection, ResponseMode, TEXT};
use super::forwarded::ClientRefusal;
use super::request::{self, HttpMethod, HttpRequest, MAX_HEADER_BYTES, RequestError};
use super::response;
use super::{cors, player_page, websocket};
use crate::auth::Credential;
use crate::delivery::finder::{NotPlayable, Play, PlayRequest};
use crate::state::address_limits::AddressLimit;
use crate::state::clients::ClientKind;
use crate::state::phase::Phase;

const ALLOWED_METHODS: &str = "GET, HEAD, OPTIONS";

/// The result of a connection's requests.
pub(super) enum ConnectionOutcome {
    /// The connection is to be closed.
    Close,
    /// The connection becomes an HTTP-FLV stream, whose response is not yet sent.
    Flv(Play, BodyFraming),
    /// The connection has become a WebSocket. The bytes follow the handshake.
    WebSocket(Play, BytesMut),
}

/// Answers requests until the connection ends or becomes a stream. The first request must be complete before the deadline.
pub(super) async fn serve(
    connection: &mut HttpConnection,
    mut deadline: Instant,
) -> ConnectionOutcome {
    let mut input = BytesMut::with_capacity(1024);
    let mut is_first = true;
    loop {
        let request = match connection
            .next_request(&mut input, is_first, deadline)
            .await
        {
            Ok(Some(request)) => request,
            Ok(None) => return ConnectionOutcome::Close,
            Err(error) => {
                connection.refuse(error).await;
                return ConnectionOutcome::Close;
            }
        };
        is_first = false;
        match connection.serve_request(request, &mut input).await {
            Ok(None) => {
                // The next request may have arrived already. The worker's viewers get their turn before it.
                yield_now().await;
                connection.client_permit = None;
                let limits = connection.context.limits.get();
                deadline = Instant::now() + limits.handshake_timeout();
            }
            Ok(Some(outcome)) => return outcome,
            Err(_) => return ConnectionOutcome::Close,
        }
    }
}

/// Reason that a connection ends with an error response.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum NoRequest {
    #[error("{0}")]
    Invalid(RequestError),
    #[error("the request took too long")]
    Timeout,
}

/// The response to a WebSocket handshake.
struct Upgrade {
    accept: String,
    protocol: Option<String>,
}

/// Reason that a connection does not become a WebSocket.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum UpgradeError {
    #[error("not a handshake of WebSocket version 13")]
    Handshake,
    #[error("pages of this site may not play streams")]
    Origin,
}

impl From<AfterResponse> for Option<ConnectionOutcome> {
    fn from(after: AfterResponse) -> Self {
        match after {
            AfterResponse::KeepAlive => None,
            AfterResponse::Close => Some(ConnectionOutcome::Close),
        }
    }
}

impl HttpConnection {
    /// Returns the next request; `None` when the connection ends without one.
    async fn next_request(
        &mut self,
        input: &mut BytesMut,
        is_first: bool,
        deadline: Instant,
    ) -> Result<Option<HttpRequest>, NoRequest> {
        let request = async {
            loop {
                if let Some((request, length)) =
                    request::parse(input).map_err(NoRequest::Invalid)?
                {
                    input.advance(length);
                    return Ok(Some(request));
                }
                input.reserve(MAX_HEADER_BYTES / 8);
                match self.socket.read_buf(input).await {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => {}
                }
            }
        };
        let closing = async {
            let mut phases = self.context.phase.clone();
            drop(phases.wait_for(|phase| *phase == Phase::Closing).await);
        };
        let (_idle, mut eviction) = self.context.idle.enter(self.peer.ip());
        tokio::select! {
            request = timeout_at(deadline, request) => match request {
                Ok(request) => request,
                Err(_) if input.is_empty() => Ok(None),
                Err(_) => Err(NoRequest::Timeout),
            },
            // A browser keeps idle connections open, which would delay the drain.
            () = closing, if !is_first => Ok(None),
            () = eviction.requested() => Ok(None),
        }
    }

    async fn refuse(&mut self, reason: NoRequest) {
        let status = match reason {
            NoRequest::Invalid(error) => error.status(),
            NoRequest::Timeout => StatusCode::REQUEST_TIMEOUT,
        };
        let refused = &self.context.metrics.connections.refused;
        refused.of(["request"]).inc();
        if let NoRequest::Invalid(RequestError::Protocol(reason)) = reason
            && self.context.log_rate.permits()
        {
            info!(peer = %self.peer, reason, "not an HTTP client");
        }
        debug!(%reason, "request refused");
        let mode = ResponseMode::CLOSING;
        drop(self.respond_text(status, &reason.to_string(), mode).await);
    }

    /// Answers a request under the limits of its client, or refuses it.
    async fn serve_request(
        &mut self,
        request: HttpRequest,
        input: &mut BytesMut,
    ) -> io::Result<Option<ConnectionOutcome>> {
        if let Err(refusal) = self.identify_client(&request) {
            return Ok(self.refuse_client(refusal).await?.into());
        }
        let span = self.client_span();
        self.answer(request, input).instrument(span).await
    }

    /// Answers a request. Returns `None` when the connection may serve another one.
    async fn answer(
        &mut self,
        request: HttpRequest,
        input: &mut BytesMut,
    ) -> io::Result<Option<ConnectionOutcome>> {
        let closing = *self.context.phase.borrow() == Phase::Closing;
        let mode = ResponseMode {
            keep_alive: request.keep_alive && !request.has_body && !closing,
            without_body: request.method == HttpMethod::Head,
        };
        let cors = &self.context.config.http.cors;
        self.allow_origin = cors::allowed_origin(cors, &request);
        let path = request.target.split('?').next().unwrap_or_default();
        let after = match request.method {
            HttpMethod::Options => self.answer_preflight(&request, mode).await?,
            HttpMethod::Other => {
                let headers = [("Allow", ALLOWED_METHODS), ("Content-Type", TEXT)];
                let line = b"only GET, HEAD and OPTIONS are allowed\n";
                let status = StatusCode::METHOD_NOT_ALLOWED;
                self.respond(status, &headers, line, mode).await?
            }
            HttpMethod::Get | HttpMethod::Head if request.has_body => {
                let line = "a request to this port has no body";
                self.respond_text(StatusCode::BAD_REQUEST, line, mode)
                    .await?
            }
            HttpMethod::Get | HttpMethod::Head if path.ends_with(".flv") => {
                return self.open_stream(request, input, mode).await;
            }
            HttpMethod::Get | HttpMethod::Head => self.answer_page(&request, path, mode).await?,
        };
        Ok(after.into())
    }

    /// Answers a browser's question whether a page of another site may send a request.
    async fn answer_preflight(
        &mut self,
        request: &HttpRequest,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        if self.allow_origin.is_none() {
            return self.respond(StatusCode::NO_CONTENT, &[], b"", mode).await;
        }
        let mut headers = vec![
            ("Access-Control-Allow-Methods", ALLOWED_METHODS),
            // A wildcard does not cover credentials.
            ("Access-Control-Allow-Headers", "*, Authorization"),
            ("Access-Control-Max-Age", "86400"),
        ];
        let allows_private = self.context.config.http.cors.allow_private_network;
        if request.requests_private_network && allows_private {
            headers.push(("Access-Control-Allow-Private-Network", "true"));
        }
        self.respond(StatusCode::NO_CONTENT, &headers, b"", mode)
            .await
    }

    /// Answers with the list of streams, a file of the user's, or one of the player page.
    async fn answer_page(
        &mut self,
        request: &HttpRequest,
        path: &str,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        if path == "/streams.json" {
            let list = match self.list_for(request).await {
                Ok(list) => list,
                Err(denial) => return self.respond_denied(denial, mode).await,
            };
            let headers = [("Content-Type", "application/json")];
            return self.respond(StatusCode::OK, &headers, &list, mode).await;
        }
        // A user's folder does not replace parts of the player page.
        if !path.starts_with("/player/")
            && let Some(after) = self.answer_file(request, path, mode).await?
        {
            return Ok(after);
        }
        if path == "/"
            && let Err(denial) = self.may_see_page(request)
        {
            return self.respond_denied(denial, mode).await;
        }
        if let Some((media_type, body)) = player_page::file(path) {
            let headers = [("Content-Type", media_type)];
            return self.respond(StatusCode::OK, &headers, body, mode).await;
        }
        let line = "not found; streams are at /APP/STREAM.flv";
        self.respond_text(StatusCode::NOT_FOUND, line, mode).await
    }

    async fn open_stream(
        &mut self,
        request: HttpRequest,
        input: &mut BytesMut,
        mode: ResponseMode,
    ) -> io::Result<Option<ConnectionOutcome>> {
        if let Err(limit) = self.begin_stream() {
            let refusal = ClientRefusal::Limit(limit);
            return Ok(self.refuse_client(refusal).await?.into());
        }
        let upgrade = match self.upgrade(&request) {
            Ok(upgrade) => upgrade,
            Err(error) => return Ok(self.refuse_upgrade(error, mode).await?.into()),
        };
        let body = if request.supports_chunked {
            BodyFraming::Chunked
        } else {
            BodyFraming::UntilClosed
        };
        let kind = match upgrade {
            Some(_) => ClientKind::Ws,
            None => ClientKind::Flv,
        };
        let play = match self.find(request, kind).await {
            Ok(play) => play,
            Err(error) => return Ok(self.refuse_play(&error, mode).await?.into()),
        };
        if mode.without_body {
            self.write(response::stream_header(body, self.allow_origin.as_deref()).as_bytes())
                .await?;
            return Ok(Some(ConnectionOutcome::Close));
        }
        let Some(Upgrade { accept, protocol }) = upgrade else {
            return Ok(Some(ConnectionOutcome::Flv(play, body)));
        };
        self.write(response::websocket_header(&accept, protocol.as_deref()).as_bytes())
            .await?;
        Ok(Some(ConnectionOutcome::WebSocket(play, input.split())))
    }

    /// Returns the response to the WebSocket handshake of a request, if it has one.
    fn upgrade(&self, request: &HttpRequest) -> Result<Option<Upgrade>, UpgradeError> {
        let Some(handshake) = &request.websocket else {
            return Ok(None);
        };
        let accept = websocket::accept(handshake).ok_or(UpgradeError::Handshake)?;
        if !cors::allows_websocket(&self.context.config.http.cors, request) {
            return Err(UpgradeError::Origin);
        }
        let protocol = handshake.protocol.clone();
        Ok(Some(Upgrade { accept, protocol }))
    }

    async fn refuse_upgrade(
        &mut self,
        error: UpgradeError,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        match error {
            UpgradeError::Handshake => {
                let headers = [("Sec-WebSocket-Version", "13"), ("Content-Type", TEXT)];
                let line = format!("{error}\n");
                let status = StatusCode::UPGRADE_REQUIRED;
                self.respond(status, &headers, line.as_bytes(), mode).await
            }
            UpgradeError::Origin => {
                let refused = &self.context.metrics.connections.refused;
                refused.of(["origin"]).inc();
                let status = StatusCode::FORBIDDEN;
                self.respond_text(status, &error.to_string(), mode).await
            }
        }
    }

    async fn refuse_play(
        &mut self,
        error: &NotPlayable,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        let status = match error {
            NotPlayable::Denied(denial) => return self.respond_denied(*denial, mode).await,
            NotPlayable::NotFound => StatusCode::NOT_FOUND,
            NotPlayable::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
            NotPlayable::Name(_) => StatusCode::BAD_REQUEST,
        };
        self.respond_text(status, &error.to_string(), mode).await
    }

    /// Counts each further stream that is requested on this connection as a new connection, because finding it costs as much. Behind a
    /// reverse proxy each request counts already.
    fn begin_stream(&mut self) -> Result<(), AddressLimit> {
        let is_further = std::mem::replace(&mut self.has_requested_stream, true);
        if !is_further || self.client_permit.is_some() {
            return Ok(());
        }
        let (addresses, now) = (&self.context.addresses, Instant::now().into_std());
        addresses.begin_stream(self.client.ip(), now)
    }

    async fn find(&self, request: HttpRequest, kind: ClientKind) -> Result<Play, NotPlayable> {
        let (vhosts, limits) = (&self.context.config.vhosts, self.context.limits.names());
        let key = StreamKey::from_http(request.host.as_deref(), &request.target, vhosts, &limits);
        let refused = &self.context.metrics.connections;
        let key = key.inspect_err(|error| refused.count_invalid_key(error))?;
        let host = request.host.as_deref().unwrap_or_default();
        let scheme = if self.socket.is_encrypted() {
            "https"
        } else {
            "http"
        };
        let request = PlayRequest {
            credential: Credential::of_http(&request.target, request.authorization.as_deref()),
            tc_url: format!("{scheme}://{host}/{}", key.app()),
            page_url: request.referer.unwrap_or_default(),
            key,
            kind,
            peer: self.client,
            agent: request.agent,
            worker: self.worker,
        };
        self.context.finder.play(request).await
    }
}
