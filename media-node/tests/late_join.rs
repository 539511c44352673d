//! Whoever comes late sees something at once.

use media_wire::MediaKind;

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, number, picture};

#[tokio::test]
async fn a_late_viewer_gets_the_headers_and_then_the_newest_group() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    for group in 0..3 {
        publisher.send_group(group * 10).await;
    }
    // All of it is in the log once the last picture is seen.
    let mut witness = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    while witness.numbered().await.unwrap().0 < 29 {}

    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    for protocol in ["FLV", "RTMP"] {
        let mut headers = Vec::new();
        let first = loop {
            let message = if protocol == "FLV" {
                flv.next().await
            } else {
                rtmp.next().await
            }
            .unwrap();
            if number(&message).is_some() {
                break message;
            }
            headers.push(message.kind);
        };
        assert_eq!(
            headers.first(),
            Some(&MediaKind::Data),
            "{protocol}: metadata first"
        );
        assert_eq!(headers.len(), 3, "{protocol}: {headers:?}");
        assert!(first.is_keyframe(), "{protocol}");
        assert_eq!(
            (number(&first), first.timestamp),
            (Some(20), 800),
            "{protocol}"
        );
    }
    let tracks = flv.tracks.unwrap();
    assert_eq!((tracks.audio, tracks.video), (true, true));
    publisher.send([picture(30, 1200, 10)]).await;
    while flv.numbered().await.unwrap().0 < 30 {}
    while rtmp.numbered().await.unwrap().0 < 30 {}
}
