//! Many streams on a media node with little memory: they buffer less, no viewer notices, and what does not fit is refused.

use std::time::Duration;

use media_node::Timings;

use crate::support::{
    Clip, FlvViewer, Process, Protocol, Publisher, RawConnection, RtmpViewer, Start, TestNode,
    assert_complete, edge, ended, eventually, finish, interframe, keyframe, origins,
    publish_in_step, replace_file, request, watch_at,
};

/// Streams that send media.
const STREAMS: usize = 8;

const MIB: u64 = 1 << 20;

/// Fills a memory of 16 MiB with streams that begin with nearly a mebibyte. A sixteenth stays free.
async fn fill(node: &TestNode) -> Vec<Publisher> {
    let mut streams = Vec::new();
    for number in 0..15 {
        let stream = format!("live/{number}");
        let mut publisher = Publisher::start(node.addresses.rtmp, &stream).await;
        publisher.send([keyframe(0, 0, 1_000_000)]).await;
        streams.push(publisher);
    }
    let used = "live_media_memory_bytes";
    eventually(used, async || node.metric(used).await >= 15_000_000).await;
    streams
}

#[tokio::test]
async fn many_streams_stay_within_a_small_memory() {
    let mut node = Process::start(", maxMediaMebibytes: 16").await;
    let before = node.memory();
    let clip = Clip {
        keyframe: 100_000,
        frame: 12_000,
        ..Clip::PLAIN
    };
    // 6 MB of each stream, most of which the window would keep for a viewer that reads nothing.
    let sent = clip.messages(25 * 16);
    let streams = (0..STREAMS).map(async |number| {
        let stream = format!("live/{number}");
        let mut viewers = [watch_at(node.rtmp, node.http, &stream, Protocol::Flv)];
        let mut publisher = Publisher::start(node.rtmp, &stream).await;
        let mut stalled = RawConnection::connect_with_buffer(node.http, 4_096).await;
        let request = format!("GET /{stream}.flv HTTP/1.1\r\nHost: h\r\n\r\n");
        stalled.send(request).await;
        publish_in_step(&mut publisher, &sent, &mut viewers).await;
        let late = RtmpViewer::start(node.rtmp, &stream).await.next().await;
        assert!(late.is_some(), "a viewer can join");
        finish(publisher).await;
        (viewers, stalled)
    });
    let streams = futures::future::join_all(streams).await;
    assert!(node.metric("live_media_memory_bytes").await <= 16 * MIB);
    assert!(node.metric("live_segments_evicted_early_total").await > 0);
    let pressure = "live_memory_pressure";
    eventually(pressure, async || node.metric(pressure).await == 1).await;
    let (after, limit) = (node.memory(), (16 + 40) * MIB);
    assert!(after < before + limit, "{before} bytes became {after}");
    for (viewers, _stalled) in streams {
        for received in ended(viewers.into()).await {
            assert_complete(&sent, &received, Start::Beginning);
        }
    }
    node.assert_healthy();
}

#[tokio::test]
async fn stream_without_viewers_costs_little_beside_its_media() {
    /// What a media node needs once is there after so many streams.
    const FIRST: u64 = 50;
    const MORE: u64 = 200;
    // Longer than a busy host takes to send everything.
    let stream = "stream: {windowSeconds: 60, publishIdleTimeoutSeconds: 600}";
    let mut node = Process::start_with(", maxConnectionsPerAddress: 0", stream).await;
    let mut publishers = Vec::new();
    let mut measured = Vec::new();
    for streams in [FIRST, FIRST + MORE] {
        for number in publishers.len() as u64..streams {
            let mut publisher = Publisher::start(node.rtmp, &format!("live/{number}")).await;
            publisher.send_headers().await;
            for group in 0..5 {
                publisher.send_group(group * 10).await;
            }
            publishers.push(publisher);
        }
        // Five groups of ten frames of 100 bytes.
        let sent = streams * 5 * 10 * 100;
        let media = "live_media_memory_bytes";
        eventually("all frames in the logs", async || {
            node.metric(media).await >= sent
        })
        .await;
        let media = node.metric(media).await;
        measured.push(node.memory() - media);
    }
    let each = measured[1].saturating_sub(measured[0]) / MORE;
    assert!(each <= 64 << 10, "{each} bytes");
    node.assert_healthy();
}

#[tokio::test]
async fn memory_of_streams_that_have_ended_is_given_back() {
    // Longer than a busy host takes to send them.
    let stream = "stream: {windowSeconds: 60, continuitySeconds: 1}";
    let mut node = Process::start_with("", stream).await;
    let before = node.memory();
    let mut publishers = Vec::new();
    for number in 0..4 {
        let mut publisher = Publisher::start(node.rtmp, &format!("live/{number}")).await;
        publisher.send_headers().await;
        let frames = (0..100).map(|frame| keyframe(frame, frame * 40, 200_000));
        publisher.send(frames).await;
        publishers.push(publisher);
    }
    eventually("the logs", async || node.memory() > before + 60 * MIB).await;
    for publisher in publishers {
        finish(publisher).await;
    }
    // Nothing happens on the media node meanwhile.
    eventually("the memory", async || node.memory() < before + 30 * MIB).await;
    node.assert_healthy();
}

#[tokio::test]
async fn publisher_that_does_not_fit_is_refused_with_a_reason() {
    let node = TestNode::with(|config| config.limits.max_media_mebibytes = Some(16)).await;
    let start = async |number: usize| {
        Publisher::try_start(node.addresses.rtmp, &format!("live/{number}")).await
    };
    let mut streams = fill(&node).await;
    let refused = start(15).await.err().expect("a refusal");
    assert_eq!(refused.code, "NetStream.Publish.Failed");
    assert_eq!(
        refused.description,
        "the memory for media, 16 MiB, is in use by other streams"
    );
    let exceeded = "live_limits_exceeded_total{limit=\"media_memory\"}";
    assert_eq!(node.metric(exceeded).await, 1);
    assert_eq!(
        node.metric("live_publishes_total{event=\"refused\"}").await,
        1
    );
    let summary = node.api("/api/v1/summary").await;
    assert_eq!(summary["mediaMemoryLimitBytes"], 16 << 20);
    // Small groups of pictures make room.
    for publisher in &mut streams {
        publisher.send_headers().await;
        publisher.send_group(0).await;
        publisher.send_group(10).await;
    }
    let viewer = FlvViewer::open(node.addresses.http, "/live/14.flv").await;
    drop(viewer);
    start(15).await.expect("it fits now");
}

#[tokio::test]
async fn streams_that_do_not_fit_any_more_end_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.yaml");
    replace_file(&path, "limits: {maxMediaMebibytes: 64}");
    let timings = Timings {
        key_poll: Duration::from_millis(20),
        ..Timings::default()
    };
    let node = TestNode::following(&path, timings, |_| {}).await;
    let mut publishers = Vec::new();
    for (number, mebibytes) in [2, 10, 11, 12].into_iter().enumerate() {
        let stream = format!("live/{number}");
        let mut publisher = Publisher::start(node.addresses.rtmp, &stream).await;
        publisher.send_headers().await;
        publisher.send([keyframe(0, 0, 1 << 20)]).await;
        let frames = (1..mebibytes).map(|frame| interframe(frame, frame * 40, 1 << 20));
        publisher.send(frames).await;
        publishers.push(publisher);
    }
    let used = "live_media_memory_bytes";
    eventually(used, async || node.metric(used).await >= 35 * MIB).await;
    let mut watched = FlvViewer::open(node.addresses.http, "/live/3.flv").await;
    for number in 0..12 {
        assert_eq!(watched.numbered().await, Some((number, number * 40)));
    }
    replace_file(&path, "limits: {maxMediaMebibytes: 16}");
    let ended = "live_streams_ended_for_memory_total";
    eventually(ended, async || node.metric(ended).await == 2).await;
    for publisher in &mut publishers[1..=2] {
        let status = publisher.0.closed_with().await.expect("a status");
        assert_eq!(status.code, "NetStream.Publish.Failed");
        let reason = "the memory for media, 16 MiB, is in use by other streams";
        assert_eq!(status.description, reason);
    }
    let again = Publisher::try_start(node.addresses.rtmp, "live/2").await;
    assert!(again.is_err(), "it does not fit");
    let last = &mut publishers[3];
    last.send([interframe(12, 480, 100)]).await;
    assert_eq!(watched.numbered().await, Some((12, 480)));
}

#[tokio::test]
async fn publisher_with_a_large_incomplete_message_is_disconnected_while_memory_is_full() {
    let node = TestNode::with(|config| config.limits.max_media_mebibytes = Some(16)).await;
    let mut publishers = Vec::new();
    for number in 0..8 {
        let stream = format!("live/{number}");
        let mut publisher = Publisher::start(node.addresses.rtmp, &stream).await;
        publisher.send_incomplete(&keyframe(0, 0, 3 << 20)).await;
        publishers.push(publisher);
    }
    let closed = publishers
        .iter_mut()
        .map(|publisher| Box::pin(publisher.0.closed_with()));
    let (status, ..) = futures::future::select_all(closed).await;
    assert_eq!(
        status.expect("a status").description,
        "the memory for media, 16 MiB, is in use by other streams"
    );
    eventually("memory below the limit", async || {
        node.metric("live_media_memory_bytes").await <= 16 * MIB
    })
    .await;
}

#[tokio::test]
async fn stream_of_another_node_that_does_not_fit_is_refused_with_a_reason() {
    let [origin] = origins::<1>(|_| {}).await;
    let edge = edge(std::slice::from_ref(&origin), |config| {
        config.limits.max_media_mebibytes = Some(16);
    })
    .await;
    let _publisher = Publisher::with_group(origin.addresses.rtmp, "live/real").await;
    let _full = fill(&edge).await;
    let refused = request(edge.addresses.http, "GET", "/live/real.flv").await;
    assert_eq!(refused.status, 503);
    let refused = RtmpViewer::try_start(edge.addresses.rtmp, "live/real").await;
    let refused = refused.err().expect("a refusal");
    assert_eq!(refused.code, "NetStream.Play.Failed");
    assert!(
        refused.description.contains("memory"),
        "{}",
        refused.description
    );
}

#[tokio::test]
async fn encoder_of_an_edge_is_refused_when_no_origin_has_memory() {
    let [origin] = origins::<1>(|config| config.limits.max_media_mebibytes = Some(16)).await;
    let edge = edge(std::slice::from_ref(&origin), |_| {}).await;
    let _full = fill(&origin).await;
    let mut publisher = Publisher::start(edge.addresses.rtmp, "live/other").await;
    let status = publisher.0.closed_with().await.expect("a status");
    assert_eq!(status.code, "NetStream.Publish.Failed");
    assert_eq!(
        status.description,
        "no origin has memory for another stream"
    );
}
