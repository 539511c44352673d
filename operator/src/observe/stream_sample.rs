//! One scrape of one Pod, limited in time and size: the address may belong to another process by now.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// Time for connection, request and response.
const SCRAPE_LIMIT: Duration = Duration::from_secs(2);
/// Size of a response. A real one has 200 bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The fields of a media node's `/api/v1/summary` that the operator uses.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StreamSample {
    /// Streams that are published to the Pod.
    pub publications: u64,
    /// Viewers of the Pod.
    pub viewers: u64,
    /// Bytes sent to clients since the Pod started.
    #[serde(default)]
    pub egress_bytes: u64,
    /// Plays that have started since the Pod started. An older media node does not count them.
    #[serde(default)]
    pub plays: u64,
    /// Whether the memory for media is short.
    #[serde(default)]
    pub memory_pressure: bool,
}

impl StreamSample {
    /// Returns the clients of the Pod: its viewers, and the publishers of its streams.
    pub fn clients(&self) -> u64 {
        self.viewers.saturating_add(self.publications)
    }
}

/// A failed scrape.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The Pod does not accept connections.
    #[error("failed to connect")]
    Connect(#[source] std::io::Error),
    /// The response is not HTTP.
    #[error("no HTTP response")]
    Http(#[from] hyper::Error),
    /// The request cannot be built.
    #[error("invalid request")]
    Request(#[from] http::Error),
    /// The response is not 200.
    #[error("the response is {0}")]
    Status(StatusCode),
    /// The response is too long or incomplete.
    #[error("failed to read the response: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The response is not a summary.
    #[error("the response is not a summary")]
    Content(#[from] serde_json::Error),
    /// There was no complete response in time.
    #[error("no response within {} seconds", SCRAPE_LIMIT.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

/// Requests the summary of a Pod, with the header `Authorization` of the operator's token.
///
/// # Errors
/// See [`ScrapeError`].
pub async fn scrape(
    address: SocketAddr,
    authorization: Option<&HeaderValue>,
) -> Result<StreamSample, ScrapeError> {
    tokio::time::timeout(SCRAPE_LIMIT, request(address, authorization)).await?
}

async fn request(
    address: SocketAddr,
    authorization: Option<&HeaderValue>,
) -> Result<StreamSample, ScrapeError> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(ScrapeError::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let mut request = Request::get("/api/v1/summary")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let sample = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES);
        let bytes = body.collect().await.map_err(ScrapeError::Body)?.to_bytes();
        Ok(serde_json::from_slice(&bytes)?)
    };
    // The connection is polled here and ends with the response, so that no task outlives the scrape.
    tokio::pin!(connection, sample);
    tokio::select! {
        biased;
        sample = &mut sample => sample,
        closed = &mut connection => {
            closed?;
            sample.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a media node that responds with `response`, and returns its address.
    async fn node(response: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /api/v1/summary HTTP/1.1\r\n"));
            socket.write_all(response.as_bytes()).await.unwrap();
        });
        address
    }

    fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn summary_is_parsed() {
        let body = r#"{"name":"a","role":"edge","publications":2,"viewers":31,"relays":0,"egressBytes":7,"plays":40,"memoryPressure":true}"#;
        let sample = scrape(node(ok(body)).await, None).await.unwrap();
        let numbers = [
            sample.publications,
            sample.viewers,
            sample.egress_bytes,
            sample.plays,
        ];
        assert_eq!(numbers, [2, 31, 7, 40]);
        assert!(sample.memory_pressure);
    }

    #[tokio::test]
    async fn response_that_is_not_a_summary_is_an_error() {
        for body in [r#"{"publications":-1,"viewers":0}"#, "[]", ""] {
            let error = scrape(node(ok(body)).await, None).await.unwrap_err();
            assert!(matches!(error, ScrapeError::Content(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn too_long_response_is_an_error() {
        let body = format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_BYTES));
        let error = scrape(node(ok(&body)).await, None).await.unwrap_err();
        assert!(matches!(error, ScrapeError::Body(_)), "{error}");
    }

    #[tokio::test]
    async fn response_status_is_named() {
        let response = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let error = scrape(node(response.to_owned()).await, None)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the response is 503 Service Unavailable");
    }
}
