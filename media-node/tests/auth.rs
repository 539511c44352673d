//! Who may publish and play, through real sockets: RTMP, HTTP-FLV and WebSocket, with keys, signed URLs and tokens.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use media_config::{
    AccessSettings, JwtAlgorithm, JwtRules, JwtSettings, KeySettings, SignedUrlRules,
    SignedUrlSettings,
};
use media_node::{NodeConfig, Timings};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::support::{
    FlvViewer, Publisher, RawConnection, RtmpViewer, TestNode, eventually, replace_file, request,
    within_deadline,
};

mod encodings;
mod hooks;
mod hostile_hooks;
mod jwks;

const FAST: Duration = Duration::from_millis(50);

async fn start(change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    let timings = Timings {
        key_poll: FAST,
        ..Timings::default()
    };
    TestNode::with_timings(timings, change).await
}

fn keys(folder: &Path) -> AccessSettings {
    AccessSettings {
        keys: Some(KeySettings {
            directory: folder.to_owned(),
        }),
        ..AccessSettings::default()
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

async fn publish_error(node: &TestNode, stream: &str) -> (String, String) {
    let refused = Publisher::try_start(node.addresses.rtmp, stream).await;
    let status = refused.err().expect("the publish is refused");
    (status.code, status.description)
}

async fn play_status(node: &TestNode, path: &str) -> (u16, Value) {
    let answer = request(node.addresses.http, "GET", path).await;
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, body["reason"].clone())
}

async fn publish(node: &TestNode, stream: &str) -> Publisher {
    Publisher::with_group(node.addresses.rtmp, stream).await
}

fn signature(key: &str, text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    URL_SAFE_NO_PAD.encode(mac.chain_update(text).finalize().into_bytes())
}

/// Returns a JSON Web Key Set with one shared secret.
fn jwks(secret: &str) -> String {
    json!({"keys": [{"kty": "oct", "kid": "k", "k": URL_SAFE_NO_PAD.encode(secret)}]}).to_string()
}

/// Returns the rules for tokens that are signed with a secret of [`jwks`].
fn token_rules() -> JwtRules {
    JwtRules {
        audiences: vec!["livecluster".to_owned()],
        issuer: None,
        algorithms: vec![JwtAlgorithm::HS256],
        subjects: Vec::new(),
    }
}

/// Returns a token that is signed with a secret of [`jwks`].
fn token(secret: &str, algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "kid": "k"});
    let [header, claims] = [&header, claims].map(|json| URL_SAFE_NO_PAD.encode(json.to_string()));
    let message = format!("{header}.{claims}");
    let signature = signature(secret, &message);
    format!("{message}.{signature}")
}

#[tokio::test]
async fn publishing_needs_the_key_of_the_stream_and_says_why_it_is_refused() {
    let folder = folder(&[("live.a", "secret"), ("live.b", "other")]);
    let node = start(|config| config.auth.publish = keys(folder.path())).await;
    for (stream, description) in [
        ("live/a", "a credential is needed"),
        ("live/a?key=other", "the key does not open this stream"),
        ("live/c?key=secret", "the key does not open this stream"),
    ] {
        let refused = publish_error(&node, stream).await;
        let expected = (
            "NetStream.Publish.Denied".to_owned(),
            description.to_owned(),
        );
        assert_eq!(refused, expected, "{stream}");
    }
    let _publisher = publish(&node, "live/a?key=secret").await;
    // Playing is open.
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    assert!(viewer.numbered().await.is_some());
    let metrics = request(node.addresses.metrics, "GET", "/metrics").await;
    for line in [
        "live_auth_decisions_total{action=\"publish\",result=\"allowed\"} 1",
        "live_auth_decisions_total{action=\"publish\",result=\"no_credential\"} 1",
        "live_auth_decisions_total{action=\"publish\",result=\"key\"} 2",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
    assert!(!metrics.text().contains("secret"));
}

#[tokio::test]
async fn client_that_guesses_needs_a_new_connection_for_each_attempt() {
    let folder = folder(&[("live.a", "secret")]);
    let node = start(|config| config.auth.play = keys(folder.path())).await;
    let mut connection = RawConnection::connect(node.addresses.http).await;
    let guess = |key| format!("GET /live/a.flv?key={key} HTTP/1.1\r\nHost: h\r\n\r\n");
    connection
        .send((0..20).map(guess).collect::<String>())
        .await;
    let answers = connection.rest().await;
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert!(answers.starts_with("HTTP/1.1 401 "), "{answers}");
}

#[tokio::test]
async fn rotated_key_counts_and_the_removed_one_disconnects() {
    let folder = folder(&[("live.a", "old"), ("live.b", "stays")]);
    let node = start(|config| config.auth.publish = keys(folder.path())).await;
    let mut old = publish(&node, "live/a?key=old").await;
    let mut other = publish(&node, "live/b?key=stays").await;
    replace_file(&folder.path().join("live.a"), "old\nnew");
    eventually("the new key", || async {
        let started = Publisher::try_start(node.addresses.rtmp, "live/a?key=new").await;
        started.is_ok()
    })
    .await;
    // It has taken the stream over.
    old.0.closed_with().await;
    let mut old = publish(&node, "live/a?key=old").await;
    replace_file(&folder.path().join("live.a"), "new");
    let error = within_deadline("the end of the old key", old.0.closed_with()).await;
    assert_eq!(error.unwrap().code, "NetStream.Publish.Failed");
    let refused = publish_error(&node, "live/a?key=old").await;
    assert_eq!(refused.0, "NetStream.Publish.Denied");
    other.send_group(10).await;
    let clients = node.api("/api/v1/clients").await;
    assert_eq!(clients[0]["stream"], "live/b", "{clients}");
}

#[tokio::test]
async fn protected_playing_needs_a_key_in_every_protocol() {
    let folder = folder(&[("live", "viewers")]);
    let node = start(|config| config.auth.play = keys(folder.path())).await;
    let _publisher = publish(&node, "live/a").await;
    assert_eq!(
        play_status(&node, "/live/a.flv").await,
        (401, "no_credential".into())
    );
    assert_eq!(
        play_status(&node, "/live/a.flv?key=x").await,
        (401, "key".into())
    );
    let refused = RtmpViewer::try_start(node.addresses.rtmp, "live/a").await;
    assert_eq!(refused.err().unwrap().code, "NetStream.Play.Failed");
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send(
            "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    assert_eq!(connection.response(true).await.status, 401);

    for (key, status) in [("viewers", 200), ("x", 401)] {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        let request =
            format!("GET /live/a.flv HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n");
        connection.send(request).await;
        assert_eq!(connection.response_header().await.status, status, "{key}");
    }

    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv?key=viewers").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a?key=viewers").await;
    assert!(flv.numbered().await.is_some() && rtmp.numbered().await.is_some());
    replace_file(&folder.path().join("live"), "others");
    within_deadline("the end of the key's viewers", async {
        while rtmp.next().await.is_some() {}
        while flv.next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn list_and_page_need_a_credential_and_show_what_it_opens() {
    let folder = folder(&[("live.a", "one"), ("_all", "all")]);
    let node = start(|config| config.auth.play = keys(folder.path())).await;
    let _a = publish(&node, "live/a").await;
    let _b = publish(&node, "live/b").await;
    for path in ["/", "/streams.json", "/?key=x", "/streams.json?key=x"] {
        assert_eq!(play_status(&node, path).await.0, 401, "{path}");
    }
    for (key, streams) in [("one", vec!["a"]), ("all", vec!["a", "b"])] {
        assert_eq!(play_status(&node, &format!("/?key={key}")).await.0, 200);
        let path = format!("/streams.json?key={key}");
        eventually("all streams of the list", || async {
            let answer = request(node.addresses.http, "GET", &path).await;
            let list: Value = serde_json::from_slice(&answer.body).unwrap();
            let entries = list["streams"].as_array().unwrap();
            let names: Vec<_> = entries.iter().map(|entry| entry["name"].clone()).collect();
            assert!(
                names
                    .iter()
                    .all(|name| streams.contains(&name.as_str().unwrap()))
            );
            names.len() == streams.len()
        })
        .await;
    }
    // The files of the page are public code.
    assert_eq!(play_status(&node, "/player/player.js").await.0, 200);
}

#[tokio::test]
async fn viewer_of_a_signed_url_stays_after_its_expiry() {
    let folder = folder(&[("keys", "k1\nk2")]);
    let node = start(|config| {
        config.auth.play.signed_urls = Some(SignedUrlSettings {
            directory: folder.path().to_owned(),
            rules: SignedUrlRules::default(),
        });
    })
    .await;
    let mut publisher = publish(&node, "live/a").await;
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let query = |key: &str, expires: u64| {
        let text = format!("play\n__defaultVhost__/live/a\n{expires}");
        format!("expires={expires}&signature={}", signature(key, &text))
    };
    let expired = format!("/live/a.flv?{}", query("k1", now() - 5));
    assert_eq!(play_status(&node, &expired).await, (401, "expired".into()));
    let forged = format!("/live/a.flv?{}", query("k3", now() + 60));
    assert_eq!(play_status(&node, &forged).await, (401, "signature".into()));
    let expiry = now() + 5;
    let short = format!("/live/a.flv?{}", query("k2", expiry));
    let mut viewer = FlvViewer::open(node.addresses.http, &short).await;
    // The page of one stream, and its list.
    let page = format!("?stream=live/a&{}", query("k1", now() + 60));
    assert_eq!(play_status(&node, &format!("/{page}")).await.0, 200);
    assert_eq!(
        play_status(&node, &format!("/streams.json{page}")).await.0,
        200
    );
    eventually("the expiry", async || now() > expiry).await;
    assert_eq!(play_status(&node, &short).await, (401, "expired".into()));
    publisher.send_group(10).await;
    publisher.send_group(20).await;
    while viewer.numbered().await.unwrap().0 < 20 {}
}

#[tokio::test]
async fn token_publishes_and_plays_what_its_claim_lists() {
    let secret = "a secret of at least thirty-two bytes";
    let folder = folder(&[("jwks.json", &jwks(secret))]);
    let access = AccessSettings {
        jwt: Some(JwtSettings {
            jwks_file: Some(folder.path().join("jwks.json")),
            jwks_url: None,
            ca_file: None,
            rules: token_rules(),
        }),
        ..AccessSettings::default()
    };
    let node = start(|config| {
        config.auth.publish = access.clone();
        config.auth.play = access;
    })
    .await;
    let token = |algorithm: &str, claims: Value| token(secret, algorithm, &claims);
    let claims = json!({"aud": "livecluster", "exp": 9_999_999_999_u64,
        "livecluster": {"publish": ["live/a"], "play": ["live/*"]}});
    let good = token("HS256", claims.clone());
    let _publisher = publish(&node, &format!("live/a?token={good}")).await;
    let other = publish_error(&node, &format!("live/b?token={good}")).await;
    assert_eq!(other.1, "the token does not allow this stream");
    let none = publish_error(&node, &format!("live/a?token={}", token("none", claims))).await;
    assert_eq!(none.1, "the token is not valid");

    let mut connection = RawConnection::connect(node.addresses.http).await;
    let authorization = format!("Authorization: Bearer {good}\r\n");
    connection
        .send(format!(
            "GET /live/a.flv HTTP/1.1\r\nHost: h\r\n{authorization}\r\n"
        ))
        .await;
    assert_eq!(connection.response_header().await.status, 200);
    let claim = play_status(&node, &format!("/other/a.flv?token={good}")).await;
    assert_eq!(claim, (403, "claim".into()));
}

#[tokio::test]
async fn denied_network_neither_publishes_nor_plays() {
    let node = start(|config| {
        config.auth.publish.cidrs.deny_cidrs = vec!["127.0.0.0/8".to_owned()];
        config.auth.play.cidrs.allow_cidrs = vec!["192.0.2.0/24".to_owned()];
    })
    .await;
    assert_eq!(
        publish_error(&node, "live/a").await.1,
        "this address is not allowed"
    );
    assert_eq!(
        play_status(&node, "/live/a.flv").await,
        (403, "address".into())
    );
}

#[tokio::test]
async fn pages_of_sites_that_are_not_listed_get_no_access() {
    let node = start(|config| {
        config.stream.play_wait_seconds = 0;
        config.http.cors.allow_origins = vec!["https://good.example".to_owned()];
        config.http.cors.allow_private_network = true;
    })
    .await;
    let ask = async |method: &str, origin: &str, more: &str| {
        let mut connection = RawConnection::connect(node.addresses.http).await;
        connection
            .send(format!(
                "{method} /live/a.flv HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{more}\r\n"
            ))
            .await;
        let answer = connection.response(method != "OPTIONS").await;
        let allowed = answer.header("access-control-allow-origin");
        let private = answer.header("access-control-allow-private-network");
        (answer.status, allowed.map(str::to_owned), private.is_some())
    };
    let private = "Access-Control-Request-Private-Network: true\r\n";
    let good = Some("https://good.example".to_owned());
    let evil = "https://evil.example";
    assert_eq!(
        ask("OPTIONS", "https://good.example", private).await,
        (204, good.clone(), true)
    );
    assert_eq!(ask("OPTIONS", evil, private).await, (204, None, false));
    assert_eq!(
        ask("GET", "https://good.example", "").await,
        (404, good, false)
    );
    assert_eq!(ask("GET", evil, "").await, (404, None, false));
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    assert_eq!(ask("GET", evil, websocket).await, (403, None, false));
}
