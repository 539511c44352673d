//! The operator's HTTP port: `/livez`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

use crate::monitoring::metrics::OperatorMetrics;
use crate::monitoring::watchdog::Watchdog;

/// Concurrent connections: probes and one or two Prometheus servers.
const MAX_CONNECTIONS: usize = 64;
/// Time to receive the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Lifetime of a connection: idle ones must not take all slots.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// The state that the port exposes.
#[derive(Debug)]
pub struct Health {
    /// Answers `/livez`.
    pub watchdog: Arc<Watchdog>,
    /// Answers `/metrics`.
    pub metrics: OperatorMetrics,
    /// Answers `/readyz`: whether the permissions are verified. A standby operator is ready, too.
    pub ready: AtomicBool,
}

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}")]
pub struct HealthPortError {
    address: SocketAddr,
    source: io::Error,
}

/// Opens the port. Where there is no IPv6, `[::]` is `0.0.0.0`.
///
/// # Errors
/// When the address is in use, or is not an address of this host.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, HealthPortError> {
    bind(address, TcpListener::bind).await
}

async fn bind<T, F>(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> F,
) -> Result<T, HealthPortError>
where
    F: Future<Output = io::Result<T>>,
{
    let bound = match bind(address).await {
        // The kernel reports a missing IPv6 as one of several errors.
        Err(error)
            if address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED)
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(any).await
        }
        bound => bound,
    };
    bound.map_err(|source| HealthPortError { address, source })
}

/// Serves the port until the task is aborted.
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
                    // A client that disconnects early is not an error.
                    let connection = serve_connection(socket, &health);
                    drop(tokio::time::timeout(CONNECTION_LIMIT, connection).await);
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, health: &Health) -> Result<(), hyper::Error> {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(respond(request.uri().path(), health))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn respond(path: &str, health: &Health) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/livez" => match health.watchdog.stalled() {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(stalled) => {
                tracing::error!(stalled, "not alive");
                (StatusCode::SERVICE_UNAVAILABLE, stalled + "\n")
            }
        },
        "/readyz" if health.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "permissions are not verified yet\n".to_owned(),
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
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn probes_follow_the_state_of_the_process() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health {
            watchdog: Arc::default(),
            metrics: OperatorMetrics::new().unwrap(),
            ready: AtomicBool::new(false),
        });
        tokio::spawn(serve(listener, health.clone()));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        health.ready.store(true, Ordering::Relaxed);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        health.watchdog.heartbeat("lease", Duration::ZERO);
        let dead = get(address, "/livez").await;
        assert!(
            dead.starts_with("HTTP/1.1 503") && dead.contains("no heartbeat of lease"),
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
    async fn port_is_an_ipv4_one_where_there_is_no_ipv6() {
        let without_ipv6 = async |address: SocketAddr| match address {
            SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
            SocketAddr::V4(_) => Ok(address),
        };
        let any = "[::]:8080".parse().unwrap();
        let bound = bind(any, without_ipv6).await.unwrap();
        assert_eq!(bound, "0.0.0.0:8080".parse().unwrap());
        let one = "[::1]:8080".parse().unwrap();
        assert!(bind(one, without_ipv6).await.is_err());
    }

    #[tokio::test]
    async fn address_in_use_is_named() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("failed to listen on {address}"));
    }
}
