//! A viewer that does not read does not affect others, and continues at a keyframe when it reads again. One that reads slowly
//! stays.

use std::time::Duration;

use media_wire::Message;
use tokio::io::AsyncReadExt;

use crate::support::{
    FlvViewer, Publisher, RawConnection, RtmpViewer, TestNode, interframe, keyframe, number,
    within_deadline,
};

/// Bytes of a frame, for groups of 1 MB.
const FRAME: usize = 100_000;

/// Bytes of a frame, for groups that are smaller than what the sockets hold.
const SMALL_FRAME: usize = 2_000;

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
    assert_lags_at_keyframes("FLV", async || slow_flv.next().await).await;
    assert_lags_at_keyframes("RTMP", async || slow_rtmp.next().await).await;
    let clients = node.api("/api/v1/clients").await;
    let counted = clients
        .as_array()
        .unwrap()
        .iter()
        .filter(|client| client["lags"].as_u64() > Some(0));
    assert_eq!(counted.count(), 2);
}

/// Reads messages up to number 199. Fails unless some were left out, and each time up to a keyframe.
async fn assert_lags_at_keyframes(protocol: &str, mut next: impl AsyncFnMut() -> Option<Message>) {
    let mut last = None;
    let mut lags = 0;
    while last != Some(199) {
        let message = next().await.expect("a message");
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

/// The receive buffer of some embedded players.
const SMALL_BUFFER: u32 = 4096;

/// Linux resets such a connection after a `TCP_USER_TIMEOUT` of four seconds, and reports its socket as writable only every eight.
#[tokio::test]
async fn steady_viewer_with_a_small_receive_buffer_stays_and_lags_at_a_keyframe() {
    let node = TestNode::with(|config| {
        config.limits.stall_timeout_seconds = 4;
        config.stream.window_seconds = 1;
    })
    .await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send([keyframe(0, 0, SMALL_FRAME)]).await;
    let connection = RawConnection::connect_with_buffer(node.addresses.http, SMALL_BUFFER).await;
    let mut viewer = FlvViewer::open_over(connection, "/live/a.flv").await;

    // The viewer takes 8 KB/s, and the encoder sends more than the window and the sockets hold.
    let mut sent = 1;
    for _ in 0..60 {
        let group = (sent..sent + 10).map(|number| match number % 10 {
            0 => keyframe(number, number * 40, SMALL_FRAME),
            _ => interframe(number, number * 40, SMALL_FRAME),
        });
        publisher.send(group).await;
        sent += 10;
        let mut bytes = [0; 1024];
        let connection = &mut viewer.connection;
        let read = connection.socket.read(&mut bytes);
        let read = within_deadline("bytes for a steady viewer", read).await;
        let read = read.expect("a steady viewer is not reset");
        assert!(read > 0, "a steady viewer is not disconnected");
        connection.input.extend_from_slice(&bytes[..read]);
        tokio::time::sleep(Duration::from_millis(125)).await;
    }
    publisher
        .send([keyframe(sent, sent * 40, SMALL_FRAME)])
        .await;

    let (mut last, mut lags) = (0, 0);
    while last != sent {
        let message = viewer.next().await.expect("the viewer stays");
        let Some(number) = number(&message) else {
            continue;
        };
        if number > last + 1 {
            lags += 1;
            assert!(message.is_keyframe(), "a lag ends at frame {number}");
        }
        last = number;
    }
    assert!(lags > 0, "the viewer reads fast enough for the window");
    let metrics = node.metrics().await;
    assert!(
        metrics.contains("live_viewers_stalled_total 0"),
        "{metrics}"
    );
}
