//! One question to one node, with a limit on time and size: whoever has the address may answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// Time for connection, question and answer.
const LIMIT: Duration = Duration::from_secs(2);
/// Size of an answer. The real one has 200 bytes.
const MAX_BYTES: usize = 64 * 1024;

/// A node's answer to `/api/v1/summary`, as far as the operator reads it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Sample {
    /// Streams that are published to it.
    pub publications: u64,
    /// Viewers that it serves.
    pub viewers: u64,
}

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not take connections.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// It does not speak HTTP.
    #[error("no HTTP answer")]
    Http(#[from] hyper::Error),
    /// The question cannot be written.
    #[error("no HTTP question")]
    Question(#[from] http::Error),
    /// It has nothing to say.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// It says too much, or stops in the middle.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It does not say what was asked.
    #[error("the answer is no summary")]
    Content(#[from] serde_json::Error),
    /// It takes too long.
    #[error("no answer within {} seconds", LIMIT.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

/// Asks a node for its summary.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(address: SocketAddr) -> Result<Sample, FetchError> {
    tokio::time::timeout(LIMIT, ask(address)).await?
}

async fn ask(address: SocketAddr) -> Result<Sample, FetchError> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(FetchError::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let question = Request::get("/api/v1/summary")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(question).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES);
        let bytes = body.collect().await.map_err(FetchError::Body)?.to_bytes();
        Ok(serde_json::from_slice(&bytes)?)
    };
    // The connection is driven here and ends with the answer: no task is left behind.
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A node that answers every question with `answer`.
    async fn node(answer: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut question = [0; 4096];
            let length = socket.read(&mut question).await.unwrap();
            assert!(question[..length].starts_with(b"GET /api/v1/summary HTTP/1.1\r\n"));
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn a_summary_is_read() {
        let body = r#"{"name":"a","role":"edge","publications":2,"viewers":31,"relays":0}"#;
        let sample = fetch(node(ok(body)).await).await.unwrap();
        assert_eq!((sample.publications, sample.viewers), (2, 31));
    }

    #[tokio::test]
    async fn an_answer_that_makes_no_sense_is_none() {
        for body in [r#"{"publications":-1,"viewers":0}"#, "[]", ""] {
            let error = fetch(node(ok(body)).await).await.unwrap_err();
            assert!(matches!(error, FetchError::Content(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let body = format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_BYTES));
        let error = fetch(node(ok(&body)).await).await.unwrap_err();
        assert!(matches!(error, FetchError::Body(_)), "{error}");
    }

    #[tokio::test]
    async fn another_status_is_named() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let error = fetch(node(answer.to_owned()).await).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is 503 Service Unavailable");
    }
}
