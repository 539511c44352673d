//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::monitoring::metrics::Metrics;
use crate::monitoring::watchdog::Watchdog;

/// Connections at one time: probes and one or two Prometheus servers.
const MAX_CONNECTIONS: usize = 64;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection, so that idle ones do not fill the port.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// What the port shows.
#[derive(Debug)]
pub struct Health {
    /// Behind `/livez`.
    pub watchdog: Arc<Watchdog>,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Behind `/readyz`: the permissions are there. Operators that stand by are ready, too.
    pub ready: AtomicBool,
}

/// Why the port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens the port.
///
/// # Errors
/// When the address is taken or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, health: Arc<Health>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let health = health.clone();
                tokio::spawn(async move {
                    // A peer that goes away in the middle is no news.
                    let served = answer_all(socket, &health);
                    drop(tokio::time::timeout(CONNECTION_LIMIT, served).await);
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer_all(socket: TcpStream, health: &Health) -> Result<(), hyper::Error> {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(request.uri().path(), health))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn answer(path: &str, health: &Health) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/livez" => match health.watchdog.complaint() {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(complaint) => {
                tracing::error!(complaint, "not alive");
                (StatusCode::SERVICE_UNAVAILABLE, complaint + "\n")
            }
        },
        "/readyz" if health.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the permissions are not checked yet\n".to_owned(),
        ),
        "/metrics" => match health.metrics.render() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; version=0.0.4"),
    );
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_probes_tell_what_is_so() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health {
            watchdog: Arc::default(),
            metrics: Metrics::new().unwrap(),
            ready: AtomicBool::new(false),
        });
        tokio::spawn(serve(listener, health.clone()));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        health.ready.store(true, Ordering::Relaxed);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        health.watchdog.beat("lease", Duration::ZERO);
        let dead = get(address, "/livez").await;
        assert!(
            dead.starts_with("HTTP/1.1 503") && dead.contains("lease is silent"),
            "{dead}"
        );
        assert!(
            get(address, "/metrics")
                .await
                .contains("live_operator_leader 0")
        );
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
