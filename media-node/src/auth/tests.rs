//! The order in which methods judge, revocation, lists, and hooks that answer, refuse and are away.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use media_config::{
    AccessSettings, FailurePolicy, HookSettings, JwtAlgorithm, JwtRules, JwtSettings, KeySettings,
    SignedUrlRules, SignedUrlScheme, SignedUrlSettings,
};
use media_wire::StreamKey;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::hook_server::hook_server;
use super::jwt::tests::{Issuer, claims};
use super::*;
use crate::state::metrics::Metrics;

#[path = "../../tests/support/hook_server.rs"]
mod hook_server;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn start(settings: AuthSettings) -> Auth {
    Auth::start(
        "test",
        &settings,
        metrics(),
        Duration::from_secs(60),
        KeySetTimings::default(),
    )
    .unwrap()
}

fn metrics() -> AuthMetrics {
    Metrics::new().auth
}

fn publish(access: AccessSettings) -> Auth {
    start(AuthSettings {
        publish: access,
        ..AuthSettings::default()
    })
}

fn play(access: AccessSettings) -> Auth {
    start(AuthSettings {
        play: access,
        ..AuthSettings::default()
    })
}

async fn decide(auth: &Auth, action: Action, query: &str) -> Result<Grant, Denial> {
    let stream = StreamKey::new(None, "live", "cam").unwrap();
    let credential = Credential::new(query, None);
    auth.decide(AccessRequest {
        action,
        stream: &stream,
        credential: &credential,
        peer: PEER,
        client: 7,
        tc_url: "rtmp://host/live",
        page_url: "",
    })
    .await
}

fn denial(decided: Result<Grant, Denial>) -> Option<Denial> {
    decided.err()
}

fn keys(files: &[(&str, &str)]) -> (TempDir, AccessSettings) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let access = AccessSettings {
        keys: Some(KeySettings {
            directory: folder.path().to_owned(),
        }),
        ..AccessSettings::default()
    };
    (folder, access)
}

/// A hook that has more time to answer than it needs on a busy host.
fn hook(server: SocketAddr, policy: FailurePolicy) -> AccessSettings {
    hook_within(30, server, policy)
}

fn hook_within(timeout_seconds: u32, server: SocketAddr, policy: FailurePolicy) -> AccessSettings {
    AccessSettings {
        hook: Some(HookSettings {
            url: format!("http://{server}/hook?secret=s"),
            timeout_seconds,
            failure_policy: policy,
        }),
        ..AccessSettings::default()
    }
}

async fn next(received: &mut mpsc::Receiver<Value>) -> Value {
    let next = timeout(Duration::from_secs(30), received.recv()).await;
    next.unwrap().unwrap()
}

#[tokio::test]
async fn everything_is_open_without_methods() {
    let auth = start(AuthSettings::default());
    assert!(decide(&auth, Action::Publish, "").await.is_ok());
    assert!(decide(&auth, Action::Play, "key=x").await.is_ok());
    assert!(auth.background.is_none());
}

#[tokio::test]
async fn actions_are_protected_apart() {
    let (_folder, access) = keys(&[("live.cam", "secret")]);
    let auth = publish(access);
    assert!(decide(&auth, Action::Publish, "key=secret").await.is_ok());
    let without = decide(&auth, Action::Publish, "").await;
    assert_eq!(denial(without), Some(Denial::NoCredential));
    let wrong = decide(&auth, Action::Publish, "key=x").await;
    assert_eq!(denial(wrong), Some(Denial::Key));
    assert!(decide(&auth, Action::Play, "").await.is_ok());
    let count = |result| {
        let decisions = &auth.metrics.decisions;
        decisions.of(["publish", result]).get()
    };
    assert_eq!(
        (count("allowed"), count("no_credential"), count("key")),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn priority_that_a_url_does_not_sign_is_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys"), "key").unwrap();
    let auth = publish(AccessSettings {
        signed_urls: Some(SignedUrlSettings {
            directory: folder.path().to_owned(),
            rules: SignedUrlRules {
                scheme: SignedUrlScheme::Tencent,
                validity_seconds: 0,
            },
        }),
        ..AccessSettings::default()
    });
    // MD5 of the key, the stream's name and the time.
    let query = "txSecret=e67624bf5c951d6cb3e65f15da1f4855&txTime=FFFFFFFF&priority=1";
    let refused = decide(&auth, Action::Publish, query).await;
    assert_eq!(denial(refused), Some(Denial::Priority));
    let counted = auth.metrics.decisions.of(["publish", "priority"]);
    assert_eq!(counted.get(), 1);
}

#[tokio::test]
async fn denied_address_is_refused_before_its_key_is_looked_at() {
    let (_folder, mut access) = keys(&[("live.cam", "secret")]);
    access.cidrs.deny_cidrs = vec!["192.0.2.0/24".to_owned()];
    let auth = publish(access);
    let denied = decide(&auth, Action::Publish, "key=secret").await;
    assert_eq!(denial(denied), Some(Denial::Address));
}

#[tokio::test]
async fn credential_is_judged_by_the_method_that_it_is_made_for() {
    let issuer = Issuer::new();
    let (folder, mut access) = keys(&[("live.cam", "secret")]);
    let jwks = folder.path().join("jwks.json");
    fs::write(&jwks, issuer.jwks()).unwrap();
    access.signed_urls = Some(SignedUrlSettings {
        directory: folder.path().to_owned(),
        rules: SignedUrlRules::default(),
    });
    access.jwt = Some(JwtSettings {
        jwks_file: Some(jwks),
        jwks_url: None,
        ca_file: None,
        rules: JwtRules {
            audiences: vec!["livecluster".to_owned()],
            issuer: None,
            algorithms: vec![JwtAlgorithm::RS256],
            subjects: Vec::new(),
        },
    });
    let auth = publish(access);
    let token = issuer.sign("RS256", Some("rsa"), &claims());
    assert!(
        decide(&auth, Action::Publish, &format!("token={token}"))
            .await
            .is_ok()
    );
    // A right key does not heal a wrong token or signature.
    let both = decide(&auth, Action::Publish, "token=x&key=secret").await;
    assert_eq!(denial(both), Some(Denial::Token));
    let both = decide(&auth, Action::Publish, "expires=1&signature=x&key=secret").await;
    assert_eq!(denial(both), Some(Denial::Signature));
}

#[tokio::test]
async fn client_whose_key_is_removed_is_revoked_while_it_is_there() {
    let (folder, access) = keys(&[("live.cam", "old\nnew")]);
    let auth = publish(access);
    let grant = decide(&auth, Action::Publish, "key=old").await.unwrap();
    assert!(auth.revoked().is_empty());
    fs::write(folder.path().join("live.cam"), "new").unwrap();
    for source in auth.publish.sources() {
        let background::Refreshed::Files(files) = source else {
            unreachable!()
        };
        files.reload();
    }
    assert_eq!(auth.revoked(), [7]);
    drop(grant);
    assert!(auth.revoked().is_empty());
}

#[tokio::test]
async fn list_shows_what_the_credential_opens() {
    let (_folder, access) = keys(&[("live.cam", "one"), ("_all", "all")]);
    let auth = play(access);
    let [cam, other] = ["cam", "other"].map(|name| StreamKey::new(None, "live", name).unwrap());
    let shown = |query: &str| {
        let credential = Credential::new(query, None);
        let request = ListRequest {
            credential: &credential,
            peer: PEER,
            stream: None,
        };
        let listing = auth.list(request)?;
        Ok((listing.shows(&cam), listing.shows(&other)))
    };
    assert_eq!(shown("key=one"), Ok((true, false)));
    assert_eq!(shown("key=all"), Ok((true, true)));
    assert_eq!(shown("key=wrong"), Err(Denial::Key));
    assert_eq!(shown(""), Err(Denial::NoCredential));
}

#[tokio::test]
async fn hook_is_asked_and_event_when_the_client_leaves() {
    let (server, mut received) = hook_server(|_| ("200 OK", "{\"code\":0}")).await;
    let auth = publish(hook(server, FailurePolicy::Deny));
    let grant = decide(&auth, Action::Publish, "token=t&x=1").await.unwrap();
    let mut asked = next(&mut received).await;
    let client_id = asked["client_id"].take();
    assert!(client_id.as_str().unwrap().ends_with("-7"), "{client_id}");
    let expected = serde_json::json!({
        "action": "on_publish", "server_id": "test", "client_id": null, "ip": "192.0.2.1", "vhost": "__defaultVhost__", "app": "live",
        "stream": "cam", "param": "?token=t&x=1", "tcUrl": "rtmp://host/live", "pageUrl": "",
    });
    assert_eq!(asked, expected);
    drop(grant);
    let event = next(&mut received).await;
    assert_eq!(
        (&event["action"], &event["client_id"]),
        (&"on_unpublish".into(), &client_id)
    );
    auth.close().await;
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn hook_that_refuses_is_event_nothing_more() {
    for (status, body) in [
        ("200 OK", "1"),
        ("403 Forbidden", "0"),
        ("404 Not Found", ""),
    ] {
        let (server, mut received) = hook_server(move |_| (status, body)).await;
        // Its answer counts, whatever the policy is for a hook that fails.
        let auth = play(hook(server, FailurePolicy::Allow));
        assert_eq!(
            denial(decide(&auth, Action::Play, "").await),
            Some(Denial::Hook),
            "{status}"
        );
        assert_eq!(next(&mut received).await["action"], "on_play");
        auth.close().await;
        assert!(received.try_recv().is_err());
    }
}

#[tokio::test]
async fn policy_decides_when_the_hook_fails() {
    // Nothing listens there. A port that was just closed could be another test's.
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent_address = silent.local_addr().unwrap();
    let (broken, _received) = hook_server(|_| ("503 Service Unavailable", "0")).await;
    for (server, timeout) in [(closed, 30), (silent_address, 1), (broken, 30)] {
        let auth = play(hook_within(timeout, server, FailurePolicy::Deny));
        let denied = decide(&auth, Action::Play, "").await;
        assert_eq!(denial(denied), Some(Denial::HookUnavailable));
        let auth = play(hook_within(timeout, server, FailurePolicy::Allow));
        assert!(decide(&auth, Action::Play, "").await.is_ok());
    }
}

#[tokio::test]
async fn client_that_leaves_while_the_hook_is_asked_is_reported_as_gone() {
    let (server, mut received) = hook_server(|_| ("200 OK", "0")).await;
    let auth = publish(hook(server, FailurePolicy::Deny));
    // One poll starts the question.
    let asked = decide(&auth, Action::Publish, "").now_or_never();
    assert!(asked.is_none());
    assert_eq!(next(&mut received).await["action"], "on_publish");
    assert_eq!(next(&mut received).await["action"], "on_unpublish");
}

#[test]
fn folder_that_is_not_there_is_named_with_its_field() {
    let settings = AuthSettings {
        publish: AccessSettings {
            keys: Some(KeySettings {
                directory: PathBuf::from("/nowhere"),
            }),
            ..AccessSettings::default()
        },
        ..AuthSettings::default()
    };
    let error = Auth::start(
        "test",
        &settings,
        metrics(),
        Duration::from_secs(60),
        KeySetTimings::default(),
    )
    .err()
    .unwrap()
    .to_string();
    assert!(
        error.starts_with("auth.publish.keys.directory: /nowhere"),
        "{error}"
    );
}
