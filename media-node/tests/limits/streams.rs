//! Limits of streams: of all, of one address, and of names without a publisher.

use crate::support::{
    FlvViewer, Publisher, RawConnection, TestNode, edge, eventually, origins, request,
};

#[tokio::test]
async fn stream_over_the_limit_is_refused_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_streams = 1).await;
    let _first = Publisher::start(node.addresses.rtmp, "live/a").await;
    let refused = Publisher::try_start(node.addresses.rtmp, "live/b")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, "NetStream.Publish.Failed");
    let exceeded = "live_limits_exceeded_total{limit=\"streams\"} 1";
    assert!(node.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn viewer_of_a_stream_over_the_limit_is_refused_with_a_reason() {
    let [origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |config| {
        config.limits.max_streams = 1;
    })
    .await;
    let mut publishers = Vec::new();
    for stream in ["live/a", "live/b"] {
        let publisher = Publisher::with_group(origin.addresses.rtmp, stream).await;
        publishers.push(publisher);
    }
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    assert!(viewer.numbered().await.is_some());
    let refused = request(edge.addresses.http, "GET", "/live/b.flv").await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("streams"), "{}", refused.text());
    let exceeded = "live_limits_exceeded_total{limit=\"streams\"} 1";
    assert!(edge.metrics().await.contains(exceeded));
}

#[tokio::test]
async fn address_with_too_many_streams_is_refused_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_streams_per_address = 1).await;
    let first = Publisher::start(node.addresses.rtmp, "live/a").await;
    let refused = Publisher::try_start(node.addresses.rtmp, "live/b").await;
    let refused = refused.err().expect("a refusal");
    assert_eq!(refused.code, "NetStream.Publish.Failed");
    let reason = "your address has the maximum number of published streams here, 1";
    assert_eq!(refused.description, reason);
    let exceeded = "live_limits_exceeded_total{limit=\"address_streams\"} 1";
    assert!(node.metrics().await.contains(exceeded));
    let again = Publisher::start(node.addresses.rtmp, "live/a").await;
    drop(first);
    again.finish().await;
    eventually("a free place", || async {
        let next = Publisher::try_start(node.addresses.rtmp, "live/b").await;
        next.is_ok()
    })
    .await;
}

#[tokio::test]
async fn names_without_a_publisher_keep_no_viewer_out() {
    let [origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |config| {
        config.limits.max_streams = 2;
    })
    .await;
    let mut invented = Vec::new();
    for number in 0..200 {
        let mut connection = RawConnection::connect(edge.addresses.http).await;
        let request = format!("GET /live/none-{number}.flv HTTP/1.1\r\nHost: h\r\n\r\n");
        connection.send(request).await;
        invented.push(connection);
    }
    let publisher = Publisher::with_group(origin.addresses.rtmp, "live/real").await;
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/real.flv").await;
    assert!(viewer.numbered().await.is_some());
    // A name that is published while viewers wait for it is found, from its first message on.
    drop((viewer, publisher));
    let _late = Publisher::with_group(origin.addresses.rtmp, "live/none-7").await;
    let found = invented.get_mut(7).expect("one of them");
    assert_eq!(found.response_header().await.status, 200);
}

#[tokio::test]
async fn further_name_without_a_publisher_is_refused_with_a_reason() {
    let origins = origins::<1>(|_| {}).await;
    let edge = edge(&origins, |config| {
        config.limits.max_lookups = 1;
    })
    .await;
    let mut viewers = Vec::new();
    for name in ["a", "b"] {
        let mut viewer = RawConnection::connect(edge.addresses.http).await;
        let get = format!("GET /live/{name}.flv HTTP/1.1\r\nHost: h\r\n\r\n");
        viewer.send(get).await;
        viewers.push(viewer);
    }
    let exceeded = "live_limits_exceeded_total{limit=\"lookups\"}";
    eventually("one name is refused", async || {
        edge.metric(exceeded).await == 1
    })
    .await;
    let [a, b] = &mut viewers[..] else {
        unreachable!("two viewers")
    };
    // Either of them may be the first one.
    let (refused, name, waiting) = tokio::select! {
        refused = a.response_header() => (refused, "b", b),
        refused = b.response_header() => (refused, "a", a),
    };
    assert_eq!(refused.status, 503);
    let stream = format!("live/{name}");
    let _publisher = Publisher::with_group(origins[0].addresses.rtmp, &stream).await;
    assert_eq!(waiting.response_header().await.status, 200);
}
