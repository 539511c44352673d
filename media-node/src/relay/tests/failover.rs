//! Origins that fail or drain while streams have viewers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::cluster::{LIMIT, NEVER, RelayCluster, key};
use super::encoder::{EncoderEnd, GOP};
use super::freezer::Freezer;

/// No time limit expires here, so the failover is immediate: it follows from the lost connections.
#[tokio::test]
async fn viewers_do_not_notice_a_killed_origin() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    let mut local = edge.watch("a");
    viewer.watch_on(&encoder).await;
    let (killed, survivor) = if one.is_forwarded_to("a") {
        (&one, &two)
    } else {
        (&two, &one)
    };
    killed.kill();
    survivor.until(|node| node.is_forwarded_to("a")).await;
    viewer.watch_on(&encoder).await;
    local.watch_on(&encoder).await;
    viewer.assert_continuous();
    local.assert_continuous();
    for node in [&edge, &other] {
        node.until(|node| node.relay.metrics().switches.get() >= 1)
            .await;
    }
}

/// An edge ends a stream as soon as it has no publication.
#[tokio::test]
async fn viewers_of_a_stream_without_continuity_stay_while_its_publication_moves() {
    let mut cluster = RelayCluster::new();
    cluster.settings.stream.continuity_seconds = 0;
    let (one, edge) = (cluster.origin("o1").await, cluster.edge("e1").await);
    let other = cluster.edge("e2").await;
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let state = || viewer.stream.state();
    one.kill();
    other.until(|_| state().publication.is_none()).await;
    let sweep = || other.registry.sweep(std::time::Instant::now());
    sweep();
    assert!(!state().ended);
    let two = cluster.origin("o2").await;
    two.until(|node| node.is_forwarded_to("a")).await;
    other.until(|_| state().publication.is_some()).await;
    encoder.stop().await;
    let ended = |_: &_| {
        sweep();
        state().ended
    };
    other.until(ended).await;
}

/// The edge forwards all that it has to an origin that replaces another one: who joins there would begin with the oldest of it.
#[tokio::test]
async fn viewer_who_waits_for_an_origin_to_be_replaced_starts_at_the_newest_keyframe() {
    let cluster = RelayCluster::new();
    let (one, edge) = (cluster.origin("o1").await, cluster.edge("e").await);
    let mut encoder = edge.publish("a").await.unwrap();
    one.until(|node| node.is_forwarded_to("a")).await;
    encoder.until(4 * GOP).await;
    one.kill();
    edge.until(|node| node.relay.metrics().failures.get() > 0)
        .await;
    let joined = encoder.sent();
    let two = cluster.origin("o2").await;
    let mut viewer = two.watch("a");
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    let first = viewer.frames[0];
    assert!(first.keyframe && first.number + GOP >= joined, "{first:?}");
}

#[tokio::test]
async fn hung_origin_is_given_up() {
    let cluster = RelayCluster::impatient();
    let (one, freezer_one) = cluster.freezable_origin("o1").await;
    let (two, freezer_two) = cluster.freezable_origin("o2").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let (freezer, survivor) = if one.is_forwarded_to("a") {
        (freezer_one, &two)
    } else {
        (freezer_two, &one)
    };
    freezer.freeze();
    survivor.until(|node| node.is_forwarded_to("a")).await;
    viewer.watch_on(&encoder).await;
    viewer
        .watch_until(encoder.epoch, encoder.sent() + 100)
        .await;
    viewer.assert_continuous();
    assert!(edge.relay.metrics().failures.get() >= 1);
    assert!(edge.relay.metrics().round_trip.get_sample_count() > 1);
    assert!(other.relay.metrics().stalled.get() > 0.0);
}

/// The time for a status does not end.
#[tokio::test]
async fn publication_starts_without_an_origin_that_did_not_reply_before() {
    let cluster = RelayCluster::new();
    let (_hung, freezer) = cluster.freezable_origin("o1").await;
    let (origin, edge) = (cluster.origin("o2").await, cluster.edge("e").await);
    freezer.freeze();
    for node in [&origin, &edge] {
        node.relay.context.reachability.suspect(freezer.address);
    }
    let first = origin.publish("a").await.unwrap();
    edge.watch("a").watch_on(&first).await;
    let forwarded = edge.publish("b").await.unwrap();
    origin.watch("b").watch_on(&forwarded).await;
}

/// The time for a confirmation does not end.
#[tokio::test]
async fn origin_that_appears_gets_announcements_while_another_one_hangs() {
    let cluster = RelayCluster::with_short_surveys();
    let (_hung, freezer) = cluster.freezable_origin("o1").await;
    let origin = cluster.origin("o2").await;
    freezer.freeze();
    let other = RelayCluster::new().origin("o3").await;
    let mut older = other.publish("a").await.unwrap();
    let _newer = origin.publish("a").await.unwrap();
    // It announces to itself as well.
    let is_announcement = |(_, uri): &(SocketAddr, String)| uri.contains("supersede");
    origin
        .until(|origin| origin.take_requests().iter().any(is_announcement))
        .await;
    cluster.add(other.address);
    assert_eq!(older.ended().await, EncoderEnd::Superseded);
}

#[tokio::test]
async fn hung_origin_is_given_up_for_all_streams() {
    let cluster = RelayCluster::impatient();
    let (one, freezer) = cluster.freezable_origin("o1").await;
    let edge = cluster.edge("e").await;
    let names = ["a", "b", "c"];
    let mut encoders = Vec::new();
    for name in names {
        encoders.push(edge.publish(name).await.unwrap());
        one.until(|node| node.is_forwarded_to(name)).await;
    }
    let two = cluster.origin("o2").await;
    freezer.freeze();
    for (name, encoder) in names.into_iter().zip(&encoders) {
        two.until(|node| node.is_forwarded_to(name)).await;
        two.watch(name).watch_on(encoder).await;
    }
}

#[tokio::test]
async fn origin_is_asked_once_for_all_streams() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let names = ["a", "b", "c"];
    let mut encoders = Vec::new();
    for name in names {
        encoders.push(edge.publish(name).await.unwrap());
        origin.until(|node| node.is_forwarded_to(name)).await;
    }
    let is_about = |uri: &str, name| {
        let parts = [format!("stream={name}"), format!("%0Alive%0A{name}")];
        parts.iter().any(|part| uri.contains(part))
    };
    let is_about_all = |uri: &str| names.iter().all(|name| is_about(uri, name));
    let mut asked: Vec<(SocketAddr, String)> = Vec::new();
    let heartbeats = loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let requests = origin.take_requests().into_iter();
        asked.extend(requests.filter(|(_, uri)| uri.contains("publication?")));
        // The first ones are those by which each stream is confirmed.
        let first = asked.iter().position(|(_, uri)| is_about_all(uri));
        let since = asked
            .get(first.unwrap_or(asked.len())..)
            .unwrap_or_default();
        if since.len() >= 9 {
            break since;
        }
    };
    for (connection, uri) in heartbeats {
        assert!(is_about_all(uri), "{asked:?}");
        assert_eq!(*connection, heartbeats[0].0, "{asked:?}");
    }
}

#[tokio::test]
async fn only_origin_is_not_given_up_while_it_is_slow_at_first() {
    let mut cluster = RelayCluster::impatient();
    cluster.settings.timeouts.forward.hung_alone = NEVER;
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut local = edge.watch("a");
    freezer.freeze();
    let encoder = edge.publish("a").await.unwrap();
    local.watch_until(encoder.epoch, 125).await;
    assert!(!origin.is_forwarded_to("a"));
    let stream = origin.registry.open(&key("a")).unwrap();
    let mut states = stream.watch();
    freezer.thaw();
    let published = states.wait_for(|state| state.publication.is_some());
    timeout(LIMIT, published).await.unwrap().unwrap();
    assert_eq!(edge.relay.metrics().failures.get(), 0);
    origin.watch("a").watch_on(&encoder).await;
}

#[tokio::test]
async fn new_origin_gets_the_stream_although_another_one_hangs() {
    let (mut cluster, others) = (RelayCluster::new(), RelayCluster::new());
    cluster.settings.timeouts.survey.status = Duration::from_millis(10);
    cluster.settings.timeouts.survey.suspicion = Duration::ZERO;
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.add(hung.local_addr().unwrap());
    let edge = cluster.edge("e").await;
    let mut local = edge.watch("a");
    let encoder = edge.publish("a").await.unwrap();
    local.watch_on(&encoder).await;
    let origin = others.origin("o").await;
    cluster.add(origin.address);
    origin.until(|node| node.is_forwarded_to("a")).await;
    origin.watch("a").watch_on(&encoder).await;
}

#[tokio::test]
async fn viewers_leave_an_origin_that_has_not_noticed_that_it_lost_the_stream() {
    // The first edge reaches the origin through the freezer, the second one directly.
    let (far, near) = (RelayCluster::impatient(), RelayCluster::impatient());
    let (origin, freezer) = far.freezable_origin("o1").await;
    near.add(origin.address);
    let (edge, other) = (far.edge("e1").await, near.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let second = near.origin("o2").await;
    far.add(second.address);
    freezer.freeze();
    second.until(|node| node.is_forwarded_to("a")).await;
    viewer.watch_on(&encoder).await;
    viewer.watch_until(encoder.epoch, encoder.sent() + 10).await;
    viewer.assert_continuous();
    assert!(origin.is_forwarded_to("a"));
    assert!(other.relay.metrics().switches.get() >= 1);
}

/// The connection between the edge and its origin stays open, and no time limit ends it.
#[tokio::test]
async fn origin_that_lost_the_stream_without_notice_gives_way_to_the_one_that_has_it() {
    let mut far = RelayCluster::with_short_surveys();
    far.settings.timeouts.forward.hung = Duration::from_millis(300);
    far.settings.timeouts.forward.hung_alone = Duration::from_millis(300);
    far.settings.timeouts.intake.silence = Duration::from_millis(100);
    let near = RelayCluster::with_short_surveys();
    let (origin, freezer) = far.freezable_origin("o1").await;
    near.add(origin.address);
    let (edge, other) = (far.edge("e1").await, near.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewers = [origin.watch("a"), other.watch("a")];
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
    }
    let second = near.origin("o2").await;
    far.add(second.address);
    freezer.freeze();
    origin.until(|node| !node.is_forwarded_to("a")).await;
    assert!(second.is_forwarded_to("a"));
    for viewer in &mut viewers {
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
    }
}

/// The next attempt would never begin.
#[tokio::test]
async fn origin_gets_the_stream_as_soon_as_it_replies_again() {
    let mut cluster = RelayCluster::impatient();
    cluster.settings.timeouts.retry.first = NEVER;
    cluster.settings.timeouts.retry.longest = NEVER;
    let (origin, freezer) = cluster.freezable_origin("o").await;
    let edge = cluster.edge("e").await;
    let mut local = edge.watch("a");
    freezer.freeze();
    let encoder = edge.publish("a").await.unwrap();
    local.watch_on(&encoder).await;
    edge.until(|node| node.relay.metrics().failures.get() > 0)
        .await;
    freezer.thaw();
    origin.until(|node| node.is_forwarded_to("a")).await;
    origin.watch("a").watch_on(&encoder).await;
}

/// The next survey would never begin, and the connection between the edge and its former origin stays open.
#[tokio::test]
async fn silent_origin_asks_another_one_as_soon_as_it_replies_again() {
    let (mut far, near) = (RelayCluster::impatient(), RelayCluster::new());
    // A survey that a busy host causes before would be the only one.
    far.settings.timeouts.intake.silence = Duration::from_secs(1);
    far.settings.timeouts.retry.first = NEVER;
    let (first, second) = (far.origin("o1").await, near.origin("o2").await);
    let (to_first, to_second) = (
        Freezer::start(first.address).await,
        Freezer::start(second.address).await,
    );
    far.add(to_second.address);
    let edges = RelayCluster::impatient();
    edges.add(to_first.address);
    let edge = edges.edge("e").await;
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = first.watch("a");
    viewer.watch_on(&encoder).await;
    edges.add(second.address);
    to_second.freeze();
    to_first.freeze();
    let reachability = &first.relay.context.reachability;
    first
        .until(|_| reachability.is_suspect(to_second.address, NEVER))
        .await;
    second.until(|node| node.is_forwarded_to("a")).await;
    to_second.thaw();
    first.until(|node| !node.is_forwarded_to("a")).await;
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
}

/// The connections from before the outage bring nothing any more, and the pull has no time limit.
#[tokio::test]
async fn viewers_continue_over_a_new_connection_after_an_outage() {
    let mut far = RelayCluster::with_short_surveys();
    far.settings.timeouts.pull.silence = Duration::from_millis(100);
    far.settings.timeouts.pull.hung = Duration::from_millis(200);
    let (origin, freezer) = far.freezable_origin("o").await;
    let near = RelayCluster::new();
    near.add(origin.address);
    let (edge, other) = (near.edge("e1").await, far.edge("e2").await);
    let mut encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    freezer.freeze();
    encoder.until(encoder.sent() + GOP).await;
    freezer.thaw();
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    assert!(other.relay.metrics().switches.get() >= 1);
}

/// A firewall that has reset the connection let only the origin know. No time limit of the pull ends.
#[tokio::test]
async fn viewers_continue_after_a_connection_that_only_the_origin_knows_to_be_lost() {
    let mut far = RelayCluster::with_short_surveys();
    far.settings.timeouts.pull.silence = Duration::from_millis(100);
    let (origin, path) = far.freezable_origin("o").await;
    let other = far.edge("e").await;
    let encoder = origin.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    path.forget();
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    assert_eq!(other.relay.metrics().reopened.get(), 0);
}

/// The stream is at the other origin before it leaves the draining one, so no media node loses its upstream.
#[tokio::test]
async fn edge_moves_from_a_draining_origin_without_a_gap() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    let (draining, staying) = if one.is_forwarded_to("a") {
        (&one, &two)
    } else {
        (&two, &one)
    };
    draining.relay.start_draining();
    draining.until(|node| !node.is_forwarded_to("a")).await;
    assert!(staying.is_forwarded_to("a"));
    viewer.watch_on(&encoder).await;
    viewer.assert_continuous();
    let counts = [edge.relay.metrics(), other.relay.metrics()];
    assert_eq!(counts.map(|counts| counts.failures.get()), [0, 0]);
    assert_eq!(edge.relay.metrics().switches.get(), 1);
}
