//! A viewer that does not read does not affect others, and continues at a keyframe when it reads again.

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, interframe, keyframe, number};

/// Bytes of a frame, for groups of 1 MB.
const FRAME: usize = 100_000;

#[tokio::test]
async fn slow_viewer_jumps_to_a_keyframe_and_others_miss_nothing() {
    let node = TestNode::with(|config| {
        config.stream.window_seconds = 1;
        config.stream.window_max_mebibytes = 4;
    })
    .await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send([keyframe(0, 0, FRAME)]).await;
    let mut slow_flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut slow_rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    let mut quick = FlvViewer::open(node.addresses.http, "/live/a.flv").await;

    // More than the socket buffers hold.
    for number in 1..200_u32 {
        let message = match number % 10 {
            0 => keyframe(number, number * 40, FRAME),
            _ => interframe(number, number * 40, FRAME),
        };
        publisher.send([message]).await;
        let last = loop {
            let (last, _) = quick.numbered().await.unwrap();
            if last == number {
                break last;
            }
            assert!(last < number);
        };
        assert_eq!(last, number, "the quick viewer misses nothing");
    }
    for protocol in ["FLV", "RTMP"] {
        let mut last = None;
        let mut lags = 0;
        while last != Some(199) {
            let message = if protocol == "FLV" {
                slow_flv.next().await
            } else {
                slow_rtmp.next().await
            }
            .unwrap();
            let Some(number) = number(&message) else {
                continue;
            };
            if last.is_some_and(|last| number != last + 1) {
                lags += 1;
                assert!(
                    message.is_keyframe(),
                    "{protocol}: a lag ends at a keyframe, not at {number}"
                );
            }
            assert!(last < Some(number), "{protocol}: {number} again");
            last = Some(number);
        }
        assert!(lags > 0, "{protocol}: the viewer did not lag");
    }
    let clients = node.api("/api/v1/clients").await;
    let counted = clients
        .as_array()
        .unwrap()
        .iter()
        .filter(|client| client["lags"].as_u64() > Some(0));
    assert_eq!(counted.count(), 2);
}
