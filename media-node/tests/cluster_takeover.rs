//! Two encoders of one stream at two media nodes of a cluster.

use std::net::{Ipv4Addr, SocketAddr};

use media_config::DuplicatePublish;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{FlvViewer, Publisher, TestNode, edge, eventually, origins};

const BAD_NAME: &str = "NetStream.Publish.BadName";

/// Asserts that a second encoder takes the stream over, and that viewers of both media nodes receive it.
async fn assert_takeover(stream: &str, from: &TestNode, to: &TestNode) {
    let path = format!("/{stream}.flv");
    let mut first = Publisher::with_group(from.addresses.rtmp, stream).await;
    let mut viewers = [
        FlvViewer::open(from.addresses.http, &path).await,
        FlvViewer::open(to.addresses.http, &path).await,
    ];
    for viewer in &mut viewers {
        assert_eq!(viewer.numbered().await.unwrap().0, 0);
    }
    let mut second = Publisher::start(to.addresses.rtmp, stream).await;
    assert_eq!(first.0.closed_with().await.unwrap().code, BAD_NAME);
    second.send_headers().await;
    second.send_group(100).await;
    for viewer in &mut viewers {
        let mut last = 0;
        loop {
            let (number, timestamp) = viewer.numbered().await.unwrap();
            assert!(timestamp > last, "{number}: {timestamp} after {last}");
            last = timestamp;
            if number == 109 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn stream_follows_an_encoder_to_another_media_node() {
    let origins = origins::<2>(|_| {}).await;
    let edges = [edge(&origins, |_| {}).await, edge(&origins, |_| {}).await];
    assert_takeover("live/a", &edges[0], &edges[1]).await;
    assert_takeover("live/b", &origins[0], &origins[1]).await;
    assert_takeover("live/c", &edges[0], &origins[1]).await;
    assert_takeover("live/d", &origins[0], &edges[1]).await;
}

#[tokio::test]
async fn second_encoder_is_refused_on_every_media_node_by_policy_reject() {
    let reject = |config: &mut media_node::NodeConfig| {
        config.stream.duplicate_publish = DuplicatePublish::Reject;
    };
    let origins = origins::<2>(reject).await;
    let edges = [edge(&origins, reject).await, edge(&origins, reject).await];
    let mut first = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(origins[1].addresses.http, "/live/a.flv").await;
    for node in edges.iter().chain(&origins) {
        let refused = Publisher::try_start(node.addresses.rtmp, "live/a").await;
        assert_eq!(refused.err().unwrap().code, BAD_NAME);
    }
    first.send_group(10).await;
    for expected in 0..20 {
        assert_eq!(viewer.numbered().await.unwrap().0, expected);
    }
    first.finish().await;
    eventually("the end of the first encoder", async || {
        let second = Publisher::try_start(edges[1].addresses.rtmp, "live/a").await;
        second.is_ok()
    })
    .await;
}

#[tokio::test]
async fn edge_without_a_reachable_origin_refuses_an_encoder() {
    let [mut origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |_| {}).await;
    origin.stop.cancel();
    origin.ended().await;
    let refused = Publisher::try_start(edge.addresses.rtmp, "live/a").await;
    let refused = refused.err().unwrap();
    assert!(refused.description.contains("origin"), "{refused:?}");
}

/// Starts the internal port of an origin that finds no publication when it is surveyed, and has this epoch when one is announced to it.
async fn origin_that_begins_with(epoch: u64) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = tokio::io::split(socket);
                let mut lines = BufReader::new(reader).lines();
                while let Ok(Some(request)) = lines.next_line().await {
                    while let Ok(Some(header)) = lines.next_line().await
                        && !header.is_empty()
                    {}
                    let (status, body) = if request.starts_with("POST /relay/v1/supersede") {
                        (
                            "200 OK",
                            format!(r#"{{"epoch":{epoch},"source":"encoder"}}"#),
                        )
                    } else {
                        ("404 Not Found", "{}".to_owned())
                    };
                    let length = body.len();
                    let response = format!(
                        "HTTP/1.1 {status}\r\nx-livecluster-node: other\r\ncontent-length: {length}\r\n\r\n{body}"
                    );
                    drop(writer.write_all(response.as_bytes()).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn publication_ends_when_an_origin_that_it_is_announced_to_has_a_newer_one() {
    for (epoch, stays) in [(u64::MAX >> 1, false), (1, true)] {
        let other = origin_that_begins_with(epoch).await;
        let origin = TestNode::with(|config| {
            config.origins.addresses = vec![other.to_string()];
        })
        .await;
        let mut publisher = Publisher::start(origin.addresses.rtmp, "live/a").await;
        if stays {
            publisher.send_headers().await;
            publisher.send_group(0).await;
            let mut viewer = FlvViewer::open(origin.addresses.http, "/live/a.flv").await;
            assert_eq!(viewer.numbered().await.unwrap().0, 0);
        } else {
            assert_eq!(publisher.0.closed_with().await.unwrap().code, BAD_NAME);
        }
    }
}
