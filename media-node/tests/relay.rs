//! Streams between media nodes, as clients see them.

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, edge, eventually, origins, request,
};

#[tokio::test]
async fn stream_published_to_an_edge_plays_on_every_media_node() {
    let origins = origins::<2>(|_| {}).await;
    let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
    let _publisher = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    for node in edges.iter().chain(&origins) {
        let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
        let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
        for expected in 0..10 {
            assert_eq!(flv.numbered().await.unwrap(), (expected, expected * 40));
            assert_eq!(rtmp.numbered().await.unwrap(), (expected, expected * 40));
        }
    }
}

#[tokio::test]
async fn every_stream_is_found_on_every_media_node() {
    let origins = origins::<2>(|_| {}).await;
    let edge = edge(&origins, |_| {}).await;
    let nodes = [&origins[0], &origins[1], &edge];
    let mut publishers = Vec::new();
    for stream in 0..5 {
        let home = nodes[stream % nodes.len()].addresses.rtmp;
        let mut publisher = Publisher::start(home, &format!("live/s{stream}")).await;
        publisher.send_headers().await;
        publisher
            .send_group(u32::try_from(stream).unwrap() * 100)
            .await;
        publishers.push(publisher);
    }
    for node in nodes {
        for stream in 0..5 {
            let mut viewer =
                FlvViewer::open(node.addresses.http, &format!("/live/s{stream}.flv")).await;
            assert_eq!(viewer.numbered().await.unwrap().0, stream * 100);
        }
    }
}

#[tokio::test]
async fn edge_pulls_once_and_stops_after_the_last_viewer() {
    let origins = origins::<1>(|_| {}).await;
    let edge = edge(&origins, |config| config.stream.linger_seconds = 0).await;
    let _publisher = Publisher::with_group(origins[0].addresses.rtmp, "live/a").await;
    let mut viewers = Vec::new();
    for _ in 0..5 {
        viewers.push(FlvViewer::open(edge.addresses.http, "/live/a.flv").await);
    }
    assert_eq!(relays(&origins[0]).await, 1);
    viewers.pop();
    assert_eq!(relays(&origins[0]).await, 1);
    drop(viewers);
    eventually("the end of the pull", async || {
        relays(&origins[0]).await == 0
    })
    .await;
}

async fn relays(node: &TestNode) -> u64 {
    node.api("/api/v1/summary").await["relays"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn stream_without_a_publication_is_not_found_as_soon_as_all_origins_answered() {
    let origins = origins::<2>(|_| {}).await;
    let edge = edge(&origins, |config| config.stream.play_wait_seconds = 0).await;
    let response = request(edge.addresses.http, "GET", "/live/missing.flv").await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn restart_of_an_encoder_at_an_edge_does_not_interrupt_viewers_of_another_edge() {
    let origins = origins::<2>(|_| {}).await;
    let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
    let mut publisher = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await;
    let mut last = None;
    for run in 1..=5 {
        for expected in 0..10 {
            let (number, timestamp) = flv.numbered().await.unwrap();
            assert_eq!(number, expected, "run {run}");
            assert!(
                last < Some(timestamp),
                "run {run}: {timestamp} after {last:?}"
            );
            last = Some(timestamp);
        }
        publisher.finish().await;
        publisher = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    }
}
