//! Hooks of real sockets: asked before a client may publish or play, and notified when it leaves.

use std::net::{Ipv4Addr, SocketAddr};

use media_config::{AccessSettings, FailurePolicy, HookSettings};
use serde_json::Value;

use super::{FAST, play_status, publish, publish_error};
use crate::support::{FlvViewer, TestNode, hook_server};

fn hook(server: SocketAddr, failure_policy: FailurePolicy) -> AccessSettings {
    AccessSettings {
        hook: Some(HookSettings {
            url: format!("http://{server}/hook"),
            timeout_seconds: 30,
            failure_policy,
        }),
        ..AccessSettings::default()
    }
}

#[tokio::test]
async fn hook_is_asked_before_the_start_and_notified_of_every_end() {
    let answer = |callback: &Value| {
        if callback["param"] == "?pass=1" {
            ("200 OK", "{\"code\":0}")
        } else {
            ("200 OK", "{\"code\":1}")
        }
    };
    let (server, mut received) = hook_server(answer).await;
    let mut node = TestNode::with(|config| {
        config.auth.publish = hook(server, FailurePolicy::Deny);
        config.auth.play = hook(server, FailurePolicy::Deny);
    })
    .await;
    let refused = publish_error(&node, "live/a").await;
    assert_eq!(refused.1, "the stream's owner refused");
    let publisher = publish(&node, "live/a?pass=1").await;
    let played = play_status(&node, "/live/a.flv").await;
    assert_eq!(played, (403, "hook".into()));
    let viewer = FlvViewer::open(node.addresses.http, "/live/a.flv?pass=1").await;
    drop(viewer);
    publisher.finish().await;
    let _until_the_end = publish(&node, "live/b?pass=1").await;
    node.stop.cancel();
    node.ended().await;

    let mut callbacks = Vec::new();
    while let Ok(Some(callback)) = tokio::time::timeout(FAST, received.recv()).await {
        callbacks.push(callback);
    }
    let of = |action: &str, allowed: bool| {
        let mut clients: Vec<_> = callbacks
            .iter()
            .filter(|callback| callback["action"] == action)
            .filter(|callback| (callback["param"] == "?pass=1") == allowed)
            .map(|callback| callback["client_id"].as_str().unwrap().to_owned())
            .collect();
        clients.sort_unstable();
        clients
    };
    assert_eq!(of("on_publish", true).len(), 2);
    assert_eq!(of("on_play", true).len(), 1);
    assert_eq!(of("on_publish", true), of("on_unpublish", true));
    assert_eq!(of("on_play", true), of("on_stop", true));
    assert_eq!(
        (of("on_publish", false).len(), of("on_play", false).len()),
        (1, 1)
    );
    assert!(of("on_unpublish", false).is_empty() && of("on_stop", false).is_empty());
    let published = &callbacks[1];
    let name = (&published["app"], &published["stream"]);
    assert_eq!(name, (&"live".into(), &"a".into()));
    let address = published["tcUrl"].as_str().unwrap();
    assert!(address.starts_with("rtmp://127.0.0.1:"), "{address}");
}

#[tokio::test]
async fn absent_hook_refuses_or_allows_by_its_policy() {
    // Nothing listens there. A port that was just closed could be another test's.
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let deny = hook(server, FailurePolicy::Deny);
    let node = TestNode::with(|config| config.auth.publish = deny).await;
    let refused = publish_error(&node, "live/a").await;
    assert_eq!(
        refused.1,
        "the authorization hook does not respond, try again later"
    );
    let allow = hook(server, FailurePolicy::Allow);
    let node = TestNode::with(|config| config.auth.publish = allow).await;
    publish(&node, "live/a").await;
}
