//! One HTTP connection to another node. Nothing is pooled: a relay is one long request, a question is one short one.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Relay;
use super::protocol::NODE;

/// A lost SYN is sent again after one second: less would give up a node in another zone for one lost packet.
const CONNECT: Duration = Duration::from_secs(2);
/// A peer that acknowledges nothing for so long is gone, also while this node only listens (keepalive).
const UNANSWERED: Duration = Duration::from_secs(4);
/// Bytes of a short answer.
const MAX_ANSWER: usize = 16 << 10;

/// The body of a request: none, or a stream that is forwarded.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// A connection to another node's internal port; closed when dropped.
pub(super) struct Connection {
    peer: SocketAddr,
    /// What this node calls itself.
    node: HeaderValue,
    sender: SendRequest<Outgoing>,
    driver: JoinHandle<()>,
}

/// Why another node did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    #[error("the request failed")]
    Request(#[source] hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Answer(String),
}

impl Connection {
    async fn open(peer: SocketAddr, node: HeaderValue) -> Result<Self, ClientError> {
        let connect = timeout(CONNECT, TcpStream::connect(peer)).await;
        let stream = connect
            .map_err(|_| ClientError::Timeout(CONNECT))?
            .map_err(ClientError::Connect)?;
        configure(&stream).map_err(ClientError::Connect)?;
        let handshake = Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(ClientError::Request)?;
        // How a connection ended is known from what was asked over it.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            peer,
            node,
            sender,
            driver,
        })
    }

    /// Sends a request and waits for the head of its answer, for as long as it takes.
    pub(super) async fn send(
        &mut self,
        method: Method,
        uri: &str,
        body: Outgoing,
    ) -> Result<Response<Incoming>, ClientError> {
        self.sender.ready().await.map_err(ClientError::Request)?;
        let host = HeaderValue::from_str(&self.peer.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(NODE, &self.node);
        if let Ok(host) = host {
            request = request.header(header::HOST, host);
        }
        let request = request
            .body(body)
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        self.sender
            .send_request(request)
            .await
            .map_err(ClientError::Request)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Relay {
    pub(super) async fn connect(&self, peer: SocketAddr) -> Result<Connection, ClientError> {
        Connection::open(peer, self.0.node.clone()).await
    }
}

/// No body.
pub(super) fn nothing() -> Outgoing {
    Empty::new().boxed_unsync()
}

/// Reads a short answer.
pub(super) async fn json<T: DeserializeOwned>(
    answer: Response<Incoming>,
) -> Result<T, ClientError> {
    let body = collect(answer, MAX_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
}

/// Reads an answer of `limit` bytes at most.
pub(super) async fn collect(
    answer: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), limit).collect().await;
    let body = body.map_err(|error| ClientError::Answer(error.to_string()))?;
    Ok(body.to_bytes())
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(2))
        .with_interval(Duration::from_secs(1));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    Ok(())
}
