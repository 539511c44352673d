//! Encoders that reconnect, move, or publish a stream that another one publishes.

use std::net::Ipv4Addr;
use std::time::Duration;

use media_config::DuplicatePublish;
use media_engine::{DuplicatePolicy, PublicationSource};
use media_wire::relay::Epoch;
use tokio::time::timeout;

use super::cluster::{LIMIT, RelayCluster, RelayNode, key};
use super::encoder::EncoderEnd;
use super::freezer::Freezer;
use crate::relay::{Contender, PublishRejection, Resolution, SwitchReason};

#[tokio::test]
async fn viewers_follow_a_publisher_to_another_edge() {
    let cluster = RelayCluster::new();
    let origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut first = edge.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), other.watch("a"), origin.watch("a")];
    for viewer in &mut viewers {
        viewer.watch_on(&first).await;
    }
    let second = other.publish("a").await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(
        first.ended().await,
        EncoderEnd::Rejected(PublishRejection::Superseded)
    );
    for viewer in &mut viewers {
        viewer.watch_on(&second).await;
        viewer.assert_continuous();
    }
}

/// No time limit expires here, so the viewers move immediately: the old origin ends their pulls.
#[tokio::test]
async fn viewers_follow_a_publisher_to_another_origin() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let edge = cluster.edge("e").await;
    let mut first = one.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), one.watch("a"), two.watch("a")];
    for viewer in &mut viewers {
        viewer.watch_on(&first).await;
    }
    let second = two.publish("a").await.unwrap();
    assert_eq!(first.ended().await, EncoderEnd::Superseded);
    for viewer in &mut viewers {
        viewer.watch_on(&second).await;
        viewer.assert_continuous();
    }
}

#[tokio::test]
async fn viewers_stay_with_an_encoder_that_reconnects() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let mut viewer = edge.watch("a");
    for _ in 0..3 {
        let encoder = origin.publish("a").await.unwrap();
        viewer.watch_on(&encoder).await;
        let epoch = encoder.epoch;
        let sent = encoder.stop().await;
        viewer.watch_until(epoch, sent - 1).await;
    }
    viewer.assert_continuous();
}

#[tokio::test]
async fn policy_reject_keeps_the_first_publisher_of_the_cluster() {
    let cluster = RelayCluster::rejecting();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let first = edge.publish("a").await.unwrap();
    let mut viewer = two.watch("a");
    viewer.watch_on(&first).await;
    for node in [&other, &one, &two] {
        let refusal = node.publish("a").await.err();
        assert_eq!(refusal, Some(PublishRejection::AlreadyPublished));
    }
    viewer.watch_on(&first).await;
    viewer.assert_continuous();
    first.stop().await;
    let again = async {
        loop {
            match other.publish("a").await {
                Ok(encoder) => return encoder,
                Err(refusal) => assert_eq!(refusal, PublishRejection::AlreadyPublished),
            }
        }
    };
    let second = timeout(LIMIT, again).await.unwrap();
    viewer.watch_on(&second).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn policy_reject_keeps_one_of_two_simultaneous_publishers() {
    let cluster = RelayCluster::rejecting();
    let _origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let (first, second) = tokio::join!(edge.publish("a"), other.publish("a"));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let (end, winner) = tokio::select! {
        end = first.ended() => (end, &second),
        end = second.ended() => (end, &first),
    };
    assert!(matches!(end, EncoderEnd::Rejected(_)), "{end:?}");
    let mut viewer = edge.watch("a");
    viewer.watch_on(winner).await;
}

/// The rejected one began later. No time limit expires here, so its viewers move immediately.
#[tokio::test]
async fn viewers_of_an_encoder_that_is_rejected_late_get_the_one_on_air() {
    let mut cluster = RelayCluster::rejecting();
    cluster.settings.timeouts.survey.status = Duration::from_millis(300);
    let origin = cluster.origin("o").await;
    let path = Freezer::start(origin.address).await;
    let mut beyond = RelayCluster::new();
    beyond.settings = cluster.settings.clone();
    beyond.add(path.address);
    let (edge, other) = (cluster.edge("e1").await, beyond.edge("e2").await);
    let mut viewer = other.watch("a");
    let epoch = edge.resolve_conflict("a").await.unwrap();
    let mut later = epoch;
    while later <= epoch {
        later = other.resolve_conflict("a").await.unwrap();
    }
    path.freeze();
    let on_air = edge.start_encoder("a", epoch, Ipv4Addr::LOCALHOST.into());
    origin.until(|node| node.is_forwarded_to("a")).await;
    let mut rejected = other.start_encoder("a", later, Ipv4Addr::LOCALHOST.into());
    viewer.watch_until(later.0, 0).await;
    path.thaw();
    let end = EncoderEnd::Rejected(PublishRejection::AlreadyPublished);
    assert_eq!(rejected.ended().await, end);
    viewer.watch_epoch(epoch.0).await;
    viewer.frames.clear();
    viewer.watch_on(&on_air).await;
    viewer.assert_continuous();
}

#[tokio::test]
async fn last_messages_of_an_encoder_that_reconnects_immediately_are_not_lost() {
    let cluster = RelayCluster::new();
    let _origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.watch_on(&encoder).await;
    for _ in 0..3 {
        let (epoch, sent) = (encoder.epoch, encoder.stop().await);
        encoder = edge.publish("a").await.unwrap();
        viewer.watch_on(&encoder).await;
        viewer.assert_continuous();
        let last = viewer.frames.iter().rfind(|frame| frame.epoch == epoch);
        assert_eq!(last.map(|frame| frame.number + 1), Some(sent));
        let first = viewer
            .frames
            .iter()
            .find(|frame| frame.epoch == encoder.epoch);
        assert_eq!(first.map(|frame| frame.number), Some(0));
    }
}

fn cluster_with_standbys() -> RelayCluster {
    let mut cluster = RelayCluster::new();
    let policy = &mut cluster.settings.stream;
    policy.duplicate_publish = DuplicatePublish::Standby;
    policy.failover_after_milliseconds = u32::MAX;
    cluster
}

/// It would wait for its next keyframe. Here the origin hears of the end only after it has replied.
#[tokio::test]
async fn encoder_that_is_faster_than_the_news_of_its_end_does_not_stand_by() {
    let cluster = cluster_with_standbys();
    let origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let encoder = edge.publish("a").await.unwrap();
    origin.until(|node| node.is_forwarded_to("a")).await;
    let end = async {
        // The connection, and the reply.
        let is_answered =
            |node: &RelayNode| node.relay.metrics().round_trip.get_sample_count() >= 2;
        other.until(is_answered).await;
        encoder.stop().await;
    };
    let (key, contender) = (key("a"), Contender::new(0));
    let again = timeout(LIMIT, other.relay.resolve_first(&key, &contender));
    let (resolution, ()) = tokio::join!(again, end);
    let resolution = resolution.expect("a result in time");
    assert!(
        matches!(resolution, Ok(Resolution::OnAir(..))),
        "{resolution:?}"
    );
}

#[tokio::test]
async fn standby_follows_an_encoder_that_ends_as_its_origin_is_lost() {
    let cluster = cluster_with_standbys();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut encoder = edge.publish("a").await.unwrap();
    let resolve = async |contender: &Contender| {
        let resolution = other.relay.resolve_conflict(&key("a"), contender).await;
        resolution.unwrap()
    };
    let mut contender = Contender::new(0);
    // Until an origin has the publication.
    while contender.previous.is_none() {
        if let Resolution::Standby(on_air) = resolve(&contender).await {
            contender.previous = Some(on_air);
        }
    }
    encoder.until(encoder.sent() + 1).await;
    let carrier = if one.is_forwarded_to("a") { one } else { two };
    carrier.kill();
    encoder.stop().await;
    let follows = async {
        loop {
            match resolve(&contender).await {
                Resolution::OnAir(_, reason) => return reason,
                Resolution::Standby(on_air) => contender.previous = Some(on_air),
            }
        }
    };
    assert_eq!(timeout(LIMIT, follows).await, Ok(SwitchReason::Free));
}

#[tokio::test]
async fn new_publication_is_newer_despite_a_clock_that_is_ahead_elsewhere() {
    let cluster = RelayCluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let future = Epoch(u64::MAX / 2);
    let now = std::time::Instant::now();
    let policy = DuplicatePolicy::Takeover;
    let ahead = one
        .registry
        .publish(&key("a"), future, PublicationSource::Encoder, policy, now)
        .unwrap();
    let contender = Contender::new(0);
    let resolution = two.relay.resolve_conflict(&key("a"), &contender).await;
    assert!(matches!(resolution, Ok(Resolution::OnAir(epoch, _)) if epoch > future));
    drop(ahead);
}
