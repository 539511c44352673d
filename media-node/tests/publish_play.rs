//! A published stream is played by RTMP and HTTP-FLV, every message once and in order.

use bytes::Bytes;
use media_wire::{MediaKind, Message};

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, audio_frame, audio_header, interframe, keyframe,
    log, metadata, video_header,
};

#[tokio::test]
async fn viewers_of_both_protocols_receive_every_message_once_and_in_order() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    for group in 1..5 {
        publisher.send_group(group * 10).await;
    }
    for expected in 0..50 {
        assert_eq!(flv.numbered().await, Some((expected, expected * 40)), "FLV");
        assert_eq!(
            rtmp.numbered().await,
            Some((expected, expected * 40)),
            "RTMP"
        );
    }
    publisher.finish().await;
}

#[tokio::test]
async fn payloads_of_every_size_arrive_unchanged() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    // Around the chunk sizes of both sides, and far above them.
    let sizes = [
        10, 127, 128, 129, 59_999, 60_000, 60_001, 180_000, 1_000_000,
    ];
    let mut sent = vec![keyframe(0, 0, 9)];
    for (number, size) in (1..).zip(sizes) {
        sent.push(interframe(number, number * 40, size));
        sent.push(audio_frame(100 + number, number * 40));
    }
    publisher.send(sent.iter().take(1).cloned()).await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    publisher.send(sent.iter().skip(1).cloned()).await;
    for kind in ["FLV", "RTMP"] {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let message = if kind == "FLV" {
                flv.next().await
            } else {
                rtmp.next().await
            }
            .unwrap();
            if message.kind != MediaKind::Data && !message.is_sequence_header() {
                received.push(message);
            }
        }
        assert!(received == sent, "{kind}");
    }
}

#[tokio::test]
async fn viewer_that_asks_for_a_duration_gets_no_more_and_may_play_again() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    while viewer.numbered().await != Some((9, 360)) {}
    viewer.play_for("a", 1000).await;
    publisher.send_group(10).await;
    while viewer.numbered().await != Some((19, 760)) {}
    for group in 2..10 {
        publisher.send_group(group * 10).await;
    }
    let mut last = 760;
    while let Some((_, timestamp)) = viewer.numbered().await {
        last = timestamp;
    }
    assert!(last <= 1000, "{last} ms");
    viewer.play_for("a", 1000).await;
}

#[tokio::test]
async fn header_of_an_audio_stream_has_no_video_flag() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/radio").await;
    publisher.send([audio_header()]).await;
    publisher
        .send((0..50).map(|number| audio_frame(number, number * 23)))
        .await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/radio.flv").await;
    assert!(viewer.numbered().await.is_some());
    let tracks = viewer.tracks.unwrap();
    assert_eq!((tracks.audio, tracks.video), (true, false));
}

#[tokio::test]
async fn viewer_waits_for_a_stream_that_starts_later() {
    let node = TestNode::start().await;
    let viewer = tokio::spawn(RtmpViewer::start(node.addresses.rtmp, "live/a"));
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = viewer.await.unwrap();
    assert_eq!(viewer.numbered().await.map(|(number, _)| number), Some(0));
}

#[tokio::test]
async fn missing_stream_is_refused_as_not_found() {
    let node = TestNode::with(|config| config.stream.play_wait_seconds = 0).await;
    let refused = RtmpViewer::try_start(node.addresses.rtmp, "live/none").await;
    assert_eq!(refused.err().unwrap().code, "NetStream.Play.StreamNotFound");
}

#[tokio::test]
async fn connection_publishes_one_stream_after_another() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    publisher.publish_again("b").await;
    publisher.send_raw([video_header(), audio_header()]).await;
    let group = (0..10).map(|number| keyframe(number, number * 40, 100));
    publisher.send_raw(group).await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/b.flv").await;
    assert!(viewer.numbered().await.is_some());
}

#[tokio::test]
async fn paused_viewer_resumes_at_the_newest_keyframe() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = RtmpViewer::start(node.addresses.rtmp, "live/a").await;
    for number in 0..10 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
    viewer.pause(true).await;
    for group in 1..4 {
        publisher.send_group(group * 10).await;
    }
    // The media node has all of them.
    let mut witness = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    while witness.numbered().await.unwrap().0 < 39 {}
    viewer.pause(false).await;
    let (number, _) = viewer.numbered().await.unwrap();
    assert!(number % 10 == 0 && number > 0, "{number}");
    publisher.send_group(40).await;
    let mut last = number;
    while last < 49 {
        let (number, _) = viewer.numbered().await.unwrap();
        assert_eq!(number, last + 1);
        last = number;
    }
}

/// SRS edges ask an origin for `NAME.flv` by RTMP.
#[tokio::test]
async fn rtmp_name_with_suffix_is_the_same_stream() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/flv:a").await;
    let mut flv = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(node.addresses.rtmp, "live/a.flv").await;
    assert_eq!(flv.numbered().await, Some((0, 0)));
    assert_eq!(rtmp.numbered().await, Some((0, 0)));
}

/// gortmplib sends AV1 as coded frames without composition time, which mpegts.js does not play.
#[tokio::test]
async fn av1_arrives_as_coded_frames() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/av1").await;
    let video = |timestamp, payload: &'static [u8]| Message {
        kind: MediaKind::Video,
        timestamp,
        payload: Bytes::from_static(payload),
    };
    let header = video(0, b"\x90av01\x81\x04\x0C\0\x0A\x02\x18\x19");
    let keyframe = video(0, b"\x93av01\x12\0\x0A\x02\x18\x19\x32\x02\x10\0");
    publisher.send([header, keyframe]).await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/av1.flv").await;
    let frame = loop {
        let message = viewer.next().await.unwrap();
        if message.is_keyframe() {
            break message;
        }
    };
    assert!(frame.payload.starts_with(b"\x91av01\x12\0"));
}

#[tokio::test]
async fn video_without_keyframe_flags_is_played_and_reported_once() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/unflagged").await;
    let frame = |timestamp, payload: &'static [u8]| Message {
        kind: MediaKind::Video,
        timestamp,
        payload: Bytes::from_static(payload),
    };
    // HEVC with the frame type 0: a slice, and two keyframes with a slice after each.
    let (keyframe, slice) = (b"\x83hvc1\0\0\0\x02\x26\x01", b"\x83hvc1\0\0\0\x02\x02\x01");
    let frames = [frame(0, slice), frame(40, keyframe), frame(80, slice)];
    publisher.send([metadata(), audio_header()]).await;
    publisher.send(frames).await;
    publisher.send([audio_frame(0, 80)]).await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/unflagged.flv").await;
    publisher
        .send([frame(120, keyframe), frame(160, slice)])
        .await;
    let mut played = Vec::new();
    while played.len() < 4 {
        let message = viewer.next().await.unwrap();
        if message.kind == MediaKind::Video {
            played.push((message.timestamp, message.is_keyframe()));
        }
    }
    assert_eq!(played, [(40, true), (80, false), (120, true), (160, false)]);
    let lines = log::lines();
    let reported = lines
        .iter()
        .filter(|line| line.contains("encoder does not flag keyframes"));
    let reported = reported.filter(|line| line.contains("stream=live/unflagged"));
    assert_eq!(reported.count(), 1);
}
