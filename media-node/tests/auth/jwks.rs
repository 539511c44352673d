//! Key sets that are fetched by HTTPS from a server with a private certificate authority.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use media_config::{AccessSettings, JwtSettings};
use media_node::{KeySetTimings, Timings};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use super::{jwks, publish_error, token, token_rules};
use crate::support::tls::{CERTIFICATES, certificate};
use crate::support::{Publisher, TestNode, eventually};

/// What the server sends behind a request.
#[derive(Clone)]
enum Answer {
    Body(String),
    /// So many bytes of a key set that does not end.
    Endless(usize),
    /// Nothing, and the connection stays open.
    Nothing,
}

/// A server of key sets, with the certificate `first` of the tests.
struct KeyServer {
    address: SocketAddr,
    answer: watch::Sender<Answer>,
    /// Requests that were answered, or were not to be.
    requests: watch::Receiver<u32>,
}

impl KeyServer {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, answers) = watch::channel(answer);
        let (requested, requests) = watch::channel(0);
        let key = PrivateKeyDer::from_pem_file(Path::new(CERTIFICATES).join("first.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate("first")], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), answers.borrow().clone());
                let requested = requested.clone();
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let mut request = [0; 1024];
                    let read = tls.read(&mut request).await.unwrap();
                    assert!(request[..read].starts_with(b"GET /keys HTTP/1.1\r\n"));
                    requested.send_modify(|requests| *requests += 1);
                    let (length, body) = match answer {
                        Answer::Body(body) => (body.len(), body),
                        Answer::Endless(bytes) => (1 << 40, "[".repeat(bytes)),
                        Answer::Nothing => return std::future::pending().await,
                    };
                    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    drop(tls.write_all((header + &body).as_bytes()).await);
                    drop(tls.shutdown().await);
                });
            }
        });
        Self {
            address,
            answer,
            requests,
        }
    }

    /// Waits for so many more requests.
    async fn wait_for_requests(&self, more: u32) {
        let mut requests = self.requests.clone();
        let enough = *requests.borrow_and_update() + more;
        eventually("requests", async || *requests.borrow() >= enough).await;
    }
}

/// Starts a media node that fetches its keys from a server, and trusts a certificate of the tests.
async fn node(server: &KeyServer, trusted: &str, timeout: Duration) -> TestNode {
    let timings = Timings {
        key_poll: super::FAST,
        key_set: KeySetTimings {
            refresh: super::FAST,
            retry: super::FAST,
            timeout,
        },
        ..Timings::default()
    };
    TestNode::with_timings(timings, |config| {
        config.auth.publish = AccessSettings {
            jwt: Some(JwtSettings {
                jwks_file: None,
                jwks_url: Some(format!("https://localhost:{}/keys", server.address.port())),
                ca_file: Some(Path::new(CERTIFICATES).join(format!("{trusted}.crt"))),
                rules: token_rules(),
            }),
            ..AccessSettings::default()
        };
    })
    .await
}

/// Returns a stream with a token that is signed with this secret.
fn stream(name: &str, secret: &str) -> String {
    let claims = json!({"aud": "livecluster", "exp": 9_999_999_999_u64,
        "livecluster": {"publish": ["live/*"]}});
    let token = token(secret, "HS256", &claims);
    format!("live/{name}?token={token}")
}

async fn wait_until_publishable(node: &TestNode, stream: &str) {
    eventually("the key counts", async || {
        let started = Publisher::try_start(node.addresses.rtmp, stream).await;
        started.is_ok()
    })
    .await;
}

const LONG: Duration = Duration::from_secs(60);
const FIRST: &str = "the first secret has at least thirty-two bytes";
const SECOND: &str = "the second secret has at least thirty-two bytes";

#[tokio::test]
async fn changed_key_set_takes_effect_and_disconnects_the_clients_of_the_removed_key() {
    let server = KeyServer::start(Answer::Body(jwks(FIRST))).await;
    let node = node(&server, "first", LONG).await;
    wait_until_publishable(&node, &stream("a", FIRST)).await;
    let mut first = Publisher::start(node.addresses.rtmp, &stream("a", FIRST)).await;
    let refused = publish_error(&node, &stream("b", SECOND)).await;
    assert_eq!(refused.1, "the token is not valid");
    server.answer.send_replace(Answer::Body(jwks(SECOND)));
    wait_until_publishable(&node, &stream("b", SECOND)).await;
    first.0.closed_with().await;
    let refused = publish_error(&node, &stream("a", FIRST)).await;
    assert_eq!(refused.1, "the token is not valid");
}

#[tokio::test]
async fn server_that_hangs_or_sends_junk_leaves_the_last_good_keys() {
    let server = KeyServer::start(Answer::Body(jwks(FIRST))).await;
    let node = node(&server, "first", Duration::from_secs(1)).await;
    wait_until_publishable(&node, &stream("a", FIRST)).await;
    for answer in [
        Answer::Nothing,
        Answer::Body("<html>sign in</html>".to_owned()),
        Answer::Body("{\"keys\": 7}".to_owned()),
        Answer::Endless(2 << 20),
    ] {
        server.answer.send_replace(answer);
        // The first one may still have had the answer before, and the third one comes after the second one was judged.
        server.wait_for_requests(3).await;
        Publisher::start(node.addresses.rtmp, &stream("a", FIRST)).await;
    }
    server.answer.send_replace(Answer::Body(jwks(SECOND)));
    wait_until_publishable(&node, &stream("a", SECOND)).await;
}

#[tokio::test]
async fn key_set_of_a_server_that_is_not_trusted_is_not_used() {
    let server = KeyServer::start(Answer::Body(jwks(FIRST))).await;
    let node = node(&server, "second", LONG).await;
    let line = "cannot fetch the key set";
    eventually("the failure is logged", async || {
        let lines = crate::support::log::lines();
        lines
            .iter()
            .any(|logged| logged.contains(line) && logged.contains("certificate"))
    })
    .await;
    let refused = publish_error(&node, &stream("a", FIRST)).await;
    assert_eq!(refused.0, "NetStream.Publish.Denied");
    assert_eq!(*server.requests.borrow(), 0);
}
