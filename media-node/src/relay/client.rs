//! HTTP connections to other media nodes. A relay is one long request on a connection of its own. Connections for short ones are kept
//! ([`super::connection_pool`]); a pull takes one of them for good.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use socket2::TcpKeepalive;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::protocol::NODE;
use crate::auth::NodeIdentity;
use crate::host::net::{self, TcpStream};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// Time to wait for one attempt to connect before a further one begins. TCP sends a lost SYN again only after one second, and is as slow
/// with the first request over that connection.
const FURTHER_ATTEMPTS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];
/// Time after which a peer that acknowledges nothing is lost, also while this media node only receives (keepalive).
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
/// Bytes of a small TCP segment, which fits into the packets of every path: IPv6 requires 1280 bytes of all.
const SMALL_SEGMENT: u32 = 1220;
/// Bytes of a short response: some hundred for each status.
const MAX_RESPONSE: usize = 32 << 10;

/// The body of a request: none, or a forwarded stream.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// How large the TCP segments of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segments {
    /// As large as the interfaces of both hosts allow.
    Large,
    /// Small enough for a path that silently loses large packets, as one with a tunnel and a firewall does.
    Small,
}

/// A connection to another media node's internal port. Dropping it closes it.
pub(super) struct NodeConnection {
    peer: SocketAddr,
    /// The id of this media node.
    node: HeaderValue,
    identity: Arc<NodeIdentity>,
    sender: SendRequest<RequestBody>,
    driver: JoinHandle<()>,
}

/// An error of a request to another media node.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("no response in {0:?}")]
    Timeout(Duration),
    #[error("the request failed: {0}")]
    Request(#[source] hyper::Error),
    #[error("unexpected response: {0}")]
    Response(String),
}

impl NodeConnection {
    /// Connects to `peer`, which is `way` distant. `node` is the id of this media node, and `identity` proves to the other one what it is.
    pub(super) async fn open(
        peer: SocketAddr,
        way: Duration,
        segments: Segments,
        node: HeaderValue,
        identity: Arc<NodeIdentity>,
    ) -> Result<Self, ClientError> {
        let segment = (segments == Segments::Small).then_some(SMALL_SEGMENT);
        let connect = first_connected(way, || net::connect(peer, segment));
        let stream = timeout(CONNECT, connect)
            .await
            .map_err(|_| ClientError::Timeout(CONNECT))?
            .map_err(ClientError::Connect)?;
        configure(&stream).map_err(ClientError::Connect)?;
        let handshake = Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(ClientError::Request)?;
        // The requests report how the connection ended.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            peer,
            node,
            identity,
            sender,
            driver,
        })
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns whether the other media node has closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the headers of the response, without a time limit.
    pub(super) async fn send(
        &mut self,
        method: Method,
        uri: &str,
        body: RequestBody,
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
        // Read for each request: tokens are renewed.
        if let Some(authorization) = self.identity.authorization() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(body)
            .map_err(|error| ClientError::Response(error.to_string()))?;
        self.sender
            .send_request(request)
            .await
            .map_err(ClientError::Request)
    }
}

/// Returns the result of the first attempt that has one.
async fn first_connected<T, F>(way: Duration, connect: impl Fn() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut attempts = FuturesUnordered::from_iter([connect()]);
    for delay in FURTHER_ATTEMPTS {
        tokio::select! {
            biased;
            Some(result) = attempts.next() => return result,
            () = sleep(way + delay) => attempts.push(connect()),
        }
    }
    match attempts.next().await {
        Some(result) => result,
        None => pending().await,
    }
}

impl Drop for NodeConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Returns an empty body.
pub(super) fn empty() -> RequestBody {
    Empty::new().boxed_unsync()
}

/// Reads a short response.
pub(super) async fn json<T: DeserializeOwned>(
    response: Response<Incoming>,
) -> Result<T, ClientError> {
    let body = collect(response, MAX_RESPONSE).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Response(error.to_string()))
}

/// Reads a response of at most `limit` bytes.
pub(super) async fn collect(
    response: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), limit).collect().await;
    let body = body.map_err(|error| ClientError::Response(error.to_string()))?;
    Ok(body.to_bytes())
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(2))
        .with_interval(Duration::from_secs(1));
    net::set_options(stream, |socket| {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Lets so many attempts wait for ever. Returns the number of all attempts, and the result of the first that has one.
    async fn connect(lost: u32, result: Result<(), io::ErrorKind>) -> (u32, io::Result<()>) {
        let begun = Cell::new(0);
        let attempt = || {
            begun.set(begun.get() + 1);
            let is_lost = begun.get() <= lost;
            async move {
                if is_lost {
                    pending::<()>().await;
                }
                result.map_err(io::Error::from)
            }
        };
        let connected = first_connected(Duration::ZERO, attempt).await;
        (begun.get(), connected)
    }

    #[tokio::test(start_paused = true)]
    async fn lost_attempt_to_connect_does_not_delay_further_ones() {
        for lost in 0..=2 {
            let (begun, connected) = connect(lost, Ok(())).await;
            connected.unwrap();
            assert_eq!(begun, lost + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connection_is_not_tried_again() {
        let (begun, connected) = connect(0, Err(io::ErrorKind::ConnectionRefused)).await;
        connected.unwrap_err();
        assert_eq!(begun, 1);
    }
}
