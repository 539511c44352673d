//! Requests to the servers that the settings name: hooks and key sets, by `http` or `https`.
//!
//! Each request has a connection of its own. A hook is asked once for each client, and a connection that is kept could fail just when
//! a client waits.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Maximum bytes of a key set.
const MAX_KEY_SET: usize = 1 << 20;

/// Maximum bytes of the answer of a hook. Many are asked at one time.
const MAX_ANSWER: usize = 16 << 10;

/// A client of one server.
pub(super) struct FetchClient {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

/// A response.
pub(super) struct FetchedResponse {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl FetchedResponse {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("the server broke the protocol: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is too long or was cut off")]
    Body,
}

impl FetchClient {
    /// Reads an address; `ca_file` replaces the authorities that browsers trust.
    pub(super) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let (encrypted, default_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err("the URL must begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL must not contain a password".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(default_port);
        Ok(Self {
            tls: encrypted.then(|| connector(ca_file)).transpose()?,
            uri,
            host,
            port,
        })
    }

    /// Returns the host, which is all of the address that logs show.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Fetches a key set within a time limit.
    pub(super) async fn get(&self, limit: Duration) -> Result<FetchedResponse, FetchError> {
        let request = (Method::GET, Bytes::new());
        self.request(request, MAX_KEY_SET, limit).await
    }

    /// Asks a hook within a time limit.
    pub(super) async fn post(
        &self,
        json: Bytes,
        limit: Duration,
    ) -> Result<FetchedResponse, FetchError> {
        self.request((Method::POST, json), MAX_ANSWER, limit).await
    }

    async fn request(
        &self,
        request: (Method, Bytes),
        max_bytes: usize,
        limit: Duration,
    ) -> Result<FetchedResponse, FetchError> {
        let exchanged = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            let Some(tls) = &self.tls else {
                return self.exchange(stream, request, max_bytes).await;
            };
            let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            self.exchange(stream, request, max_bytes).await
        };
        timeout(limit, exchanged)
            .await
            .map_err(|_| FetchError::Timeout)?
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        (method, body): (Method, Bytes),
        max_bytes: usize,
    ) -> Result<FetchedResponse, FetchError> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), max_bytes);
            let body = body.collect().await.map_err(|_| FetchError::Body)?;
            Ok(FetchedResponse {
                status,
                body: body.to_bytes(),
            })
        };
        // Polled together instead of in a task, so that nothing is left when the time limit ends both.
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            closed = connection => {
                closed?;
                answered.await
            }
        }
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unreadable = |error| format!("{} is no certificate file: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
