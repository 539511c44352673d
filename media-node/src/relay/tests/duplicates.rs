//! Publishers that come back, move, or meet another one.

use std::time::Duration;

use media_engine::{DuplicatePolicy, PublicationSource};
use media_wire::relay::Epoch;
use tokio::time::timeout;

use super::support::{Cluster, End, LIMIT, key};
use crate::relay::Refusal;

#[tokio::test]
async fn a_publisher_that_moves_to_another_edge_takes_its_viewers_along() {
    let cluster = Cluster::new();
    let origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut first = edge.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), other.watch("a"), origin.watch("a")];
    for viewer in &mut viewers {
        viewer.go_on(&first).await;
    }
    let second = other.publish("a").await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(first.end().await, End::Refused(Refusal::Superseded));
    for viewer in &mut viewers {
        viewer.go_on(&second).await;
        viewer.check();
    }
}

#[tokio::test]
async fn a_publisher_that_moves_to_another_origin_takes_its_viewers_along() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let edge = cluster.edge("e").await;
    let mut first = one.publish("a").await.unwrap();
    let mut viewers = [edge.watch("a"), one.watch("a"), two.watch("a")];
    for viewer in &mut viewers {
        viewer.go_on(&first).await;
    }
    let second = two.publish("a").await.unwrap();
    assert_eq!(first.end().await, End::Superseded);
    for viewer in &mut viewers {
        viewer.go_on(&second).await;
        viewer.check();
        let gap = viewer.longest_gap();
        assert!(gap < Duration::from_secs(1), "{gap:?}");
    }
}

#[tokio::test]
async fn an_encoder_that_comes_back_is_one_picture_for_viewers() {
    let cluster = Cluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let mut viewer = edge.watch("a");
    for _ in 0..3 {
        let encoder = origin.publish("a").await.unwrap();
        viewer.go_on(&encoder).await;
        let epoch = encoder.epoch;
        let sent = encoder.stop().await;
        viewer.until(epoch, sent - 1).await;
    }
    viewer.check();
}

#[tokio::test]
async fn with_policy_reject_the_first_publisher_of_the_cluster_stays() {
    let cluster = Cluster::rejecting();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let first = edge.publish("a").await.unwrap();
    let mut viewer = two.watch("a");
    viewer.go_on(&first).await;
    for node in [&other, &one, &two] {
        let refusal = node.publish("a").await.err();
        assert_eq!(refusal, Some(Refusal::AlreadyPublished));
    }
    viewer.go_on(&first).await;
    viewer.check();
    first.stop().await;
    let again = async {
        loop {
            match other.publish("a").await {
                Ok(encoder) => return encoder,
                Err(refusal) => assert_eq!(refusal, Refusal::AlreadyPublished),
            }
        }
    };
    let second = timeout(LIMIT, again).await.unwrap();
    viewer.go_on(&second).await;
    viewer.check();
}

#[tokio::test]
async fn of_two_publishers_at_the_same_moment_policy_reject_keeps_one() {
    let cluster = Cluster::rejecting();
    let _origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let (first, second) = tokio::join!(edge.publish("a"), other.publish("a"));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let (end, stays) = tokio::select! {
        end = first.end() => (end, &second),
        end = second.end() => (end, &first),
    };
    assert!(matches!(end, End::Refused(_)), "{end:?}");
    let mut viewer = edge.watch("a");
    viewer.go_on(stays).await;
}

#[tokio::test]
async fn the_last_messages_of_an_encoder_that_comes_back_at_once_are_not_lost() {
    let cluster = Cluster::new();
    let _origin = cluster.origin("o").await;
    let (edge, other) = (cluster.edge("e1").await, cluster.edge("e2").await);
    let mut encoder = edge.publish("a").await.unwrap();
    let mut viewer = other.watch("a");
    viewer.go_on(&encoder).await;
    for _ in 0..3 {
        let (epoch, sent) = (encoder.epoch, encoder.stop().await);
        encoder = edge.publish("a").await.unwrap();
        viewer.go_on(&encoder).await;
        viewer.check();
        let last = viewer.frames.iter().rfind(|frame| frame.epoch == epoch);
        assert_eq!(last.map(|frame| frame.number + 1), Some(sent));
        let first = viewer
            .frames
            .iter()
            .find(|frame| frame.epoch == encoder.epoch);
        assert_eq!(first.map(|frame| frame.number), Some(0));
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_elsewhere_does_not_make_the_new_publication_the_old_one() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.origin("o1").await, cluster.origin("o2").await);
    let future = Epoch(u64::MAX / 2);
    let now = std::time::Instant::now();
    let policy = DuplicatePolicy::Takeover;
    let ahead = one
        .registry
        .publish(&key("a"), future, PublicationSource::Encoder, policy, now)
        .unwrap();
    assert!(two.relay.admit(&key("a")).await.unwrap() > future);
    drop(ahead);
}
