//! Encoders of one address on several edges.

use std::net::{IpAddr, Ipv4Addr};

use media_config::Limits;

use super::cluster::RelayCluster;
use super::encoder::EncoderEnd;
use crate::relay::PublishRejection;
use crate::state::limits::CurrentLimits;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

fn limited_cluster() -> RelayCluster {
    let mut cluster = RelayCluster::new();
    cluster.settings.limits = CurrentLimits::new(Limits {
        max_streams_per_address: 2,
        ..Limits::default()
    });
    cluster
}

#[tokio::test]
async fn origin_counts_the_streams_of_an_address_on_all_edges_together() {
    let cluster = limited_cluster();
    let origin = cluster.origin("o").await;
    let edges = [cluster.edge("e1").await, cluster.edge("e2").await];
    let first = edges[0].publish_from("a", HERE).await.unwrap();
    let _second = edges[1].publish_from("b", HERE).await.unwrap();
    origin
        .until(|origin| ["a", "b"].iter().all(|name| origin.is_forwarded_to(name)))
        .await;
    for edge in &edges {
        let mut refused = edge.publish_from("c", HERE).await.unwrap();
        let full = EncoderEnd::Rejected(PublishRejection::TooManyStreams);
        assert_eq!(refused.ended().await, full);
    }
    assert!(!origin.is_forwarded_to("c"));
    let _other = edges[1].publish_from("d", ELSEWHERE).await.unwrap();
    origin.until(|origin| origin.is_forwarded_to("d")).await;
    first.stop().await;
    origin.until(|origin| !origin.is_forwarded_to("a")).await;
    let _next = edges[1].publish_from("c", HERE).await.unwrap();
    origin.until(|origin| origin.is_forwarded_to("c")).await;
}

#[tokio::test]
async fn encoder_at_the_origin_counts_with_those_at_edges() {
    let cluster = limited_cluster();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let publishers = origin.relay.publishers();
    let key = super::cluster::key;
    let _own = [key("a"), key("b")].map(|key| publishers.enter(&key, HERE).unwrap());
    let mut refused = edge.publish_from("c", HERE).await.unwrap();
    let full = EncoderEnd::Rejected(PublishRejection::TooManyStreams);
    assert_eq!(refused.ended().await, full);
}
