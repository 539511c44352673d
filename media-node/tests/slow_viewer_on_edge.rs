//! A viewer on an edge that reads nothing for a while loses frames, goes on at a keyframe with complete frames, is counted, and costs
//! the others nothing.

use media_wire::{MediaKind, Message};

use crate::support::{
    Clip, FlvViewer, Protocol, Publisher, Start, assert_complete, cluster, ended, finish, frames,
    publish_in_step, received_by_all, request, watch,
};

/// 10 Mbit/s.
const CLIP: Clip = Clip {
    gop: 50,
    keyframe: 200_000,
    frame: 50_000,
    ..Clip::PLAIN
};

#[tokio::test]
async fn slow_viewer_on_an_edge_goes_on_at_a_keyframe_and_others_miss_nothing() {
    let nodes = cluster(|config| {
        config.stream.window_max_mebibytes = 12;
        // The slow viewer reads again when everything has been sent.
        config.limits.stall_timeout_seconds = 600;
    })
    .await;
    let (origin, edge) = (&nodes[0], &nodes[1]);
    let sent = CLIP.messages(25 * 30);
    let mut publisher = Publisher::start(origin.addresses.rtmp, "live/slow").await;
    let (before, after) = sent.split_at(102);
    publisher.send(before.iter().cloned()).await;
    let others = [Protocol::Flv, Protocol::Rtmp];
    let mut others = others.map(|it| watch(edge, "live/slow", it));
    received_by_all(&mut others, before).await;
    let mut slow = FlvViewer::open(edge.addresses.http, "/live/slow.flv").await;
    // The socket's buffers hold less than what comes after the window. The others receive each message while the slow one reads nothing.
    publish_in_step(&mut publisher, after, &mut others).await;
    finish(publisher).await;
    let mut received = Vec::new();
    while let Some(message) = slow.next().await {
        received.push(message);
    }

    let lost = assert_ordered(&sent, &received);
    assert!(lost > 0, "nothing is lost: the viewer is not slow");
    for received in ended(others.into()).await {
        assert_complete(&sent, &received, Start::Keyframe);
    }
    let metrics = request(edge.addresses.metrics, "GET", "/metrics").await;
    let counts = metrics.text().lines();
    let lags = counts.filter(|line| line.starts_with("live_viewer_lags_total"));
    let lags = lags.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    assert!(lags.sum::<f64>() >= 1.0, "{}", metrics.text());
}

/// Fails unless every frame is one that was sent, in order and once, and goes on at a keyframe after each loss. Returns the number of
/// lost frames.
fn assert_ordered(sent: &[Message], received: &[Message]) -> usize {
    let (sent, received) = (frames(sent.iter()), frames(received.iter()));
    let start = sent.iter().position(|it| it.payload == received[0].payload);
    let (mut next, mut lost, mut interrupted) = (start.expect("a frame that was sent"), 0, true);
    for frame in received {
        let mut rest = sent.iter().skip(next);
        let step = rest.position(|it| it.kind == frame.kind && it.payload == frame.payload);
        let step = step.expect("a frame comes neither twice, out of order nor damaged");
        lost += step;
        next += step + 1;
        interrupted |= step > 0;
        if interrupted && frame.kind == MediaKind::Video {
            let timestamp = frame.timestamp;
            assert!(
                frame.is_keyframe(),
                "goes on between keyframes at {timestamp}"
            );
            interrupted = false;
        }
    }
    assert_eq!(next, sent.len(), "the last frames");
    lost
}
