//! The slate: a clip while viewers wait for an encoder.

use bytes::Bytes;
use media_node::{Node, NodeConfig};
use media_wire::flv::{Tracks, file_header, write_tag};
use media_wire::{MediaKind, Message};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, audio_header, edge, eventually, interframe,
    keyframe, number, origins, video_header, within_deadline,
};

/// The number of the clip's first frame. Those of encoders are smaller.
const SLATE: u32 = 9_000_000;

/// A clip of 1.2 seconds, with the sequence headers of the encoders of these tests.
fn clip() -> Vec<Message> {
    let frame = |index: u32| match index {
        0 => keyframe(SLATE, 0, 100),
        _ => interframe(SLATE + index, index * 100, 50),
    };
    let headers = [video_header(), audio_header()];
    headers.into_iter().chain((0..12).map(frame)).collect()
}

fn write(messages: &[Message]) -> TempDir {
    let tracks = Tracks {
        audio: true,
        video: true,
    };
    let mut file = file_header(tracks).to_vec();
    for message in messages {
        write_tag(&mut file, message.kind, message.timestamp, &message.payload);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slate.flv"), file).unwrap();
    folder
}

/// Lets streams wait so many seconds for an encoder, with the clip of this folder.
fn with_slate(folder: &TempDir, continuity_seconds: u32) -> impl Fn(&mut NodeConfig) {
    let path = folder.path().join("slate.flv");
    move |config| {
        config.slate = Some(path.clone());
        config.stream.continuity_seconds = continuity_seconds;
    }
}

fn frame_payloads(messages: &[Message]) -> Vec<Bytes> {
    let frames = messages.iter().filter(|message| number(message).is_some());
    frames.map(|frame| frame.payload.clone()).collect()
}

/// Watches the frames of an encoder's first group. Returns the last timestamp.
async fn watch_group(viewer: &mut FlvViewer) -> u32 {
    let mut last = 0;
    for expected in 0..10 {
        let (number, timestamp) = viewer.numbered().await.unwrap();
        assert_eq!(number, expected);
        last = timestamp;
    }
    last
}

/// Watches until the viewer has received two rounds of the clip, without a gap or a frame twice, and time that goes forward. Returns
/// the sequence headers that came with it, and the last timestamp.
async fn assert_slate(viewer: &mut FlvViewer, clip: &[Message], mut last: u32) -> (usize, u32) {
    let rounds = frame_payloads(clip);
    let mut expected = rounds.iter().cycle().take(2 * rounds.len()).peekable();
    let mut headers = 0;
    while expected.peek().is_some() {
        let message = within_deadline("the slate", viewer.next()).await;
        let message = message.expect("the stream goes on");
        headers += usize::from(message.is_sequence_header());
        if number(&message).is_none_or(|number| number < SLATE) {
            continue;
        }
        assert_eq!(Some(&message.payload), expected.next());
        assert!(
            message.timestamp > last,
            "{} after {last}",
            message.timestamp
        );
        last = message.timestamp;
    }
    (headers, last)
}

#[tokio::test]
async fn slate_is_repeated_until_the_encoder_returns() {
    let clip = clip();
    let folder = write(&clip);
    let node = TestNode::with(with_slate(&folder, 60)).await;
    let first = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    let last = watch_group(&mut viewer).await;
    first.finish().await;
    let (headers, mut last) = assert_slate(&mut viewer, &clip, last).await;
    assert_eq!(headers, 0, "the headers are those of the encoder");
    assert_eq!(node.metric("live_slates ").await, 1);
    let streams = node.api("/api/v1/streams").await;
    assert_eq!(streams[0]["publication"]["source"], "slate", "{streams}");
    let mut joined = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    assert_eq!(joined.numbered().await.unwrap().0, SLATE);

    let mut second = Publisher::start(node.addresses.rtmp, "live/a").await;
    second.send_headers().await;
    second.send_group(100).await;
    let mut expected = 100;
    while expected < 110 {
        let (number, timestamp) = viewer.numbered().await.unwrap();
        assert!(timestamp > last, "{timestamp} after {last}");
        last = timestamp;
        if number < SLATE {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    assert_eq!(node.metric("live_slates ").await, 0);
}

#[tokio::test]
async fn slate_of_other_codec_parameters_comes_with_its_headers_and_ends_with_the_time_to_wait() {
    let mut clip = clip();
    clip[0].payload = Bytes::from_static(b"\x17\0\0\0\0\x01\x42\0\x1e\xff\xe1\0\0\x01\0\0");
    let folder = write(&clip);
    // Two rounds take less than half of it.
    let slate = with_slate(&folder, 8);
    let origins = origins::<2>(&slate).await;
    let edges = [edge(&origins, &slate).await, edge(&origins, &slate).await];
    let encoder = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(edges[0].addresses.rtmp, "live/a").await;
    let (mut last, mut number) = (0, 0);
    while number < 9 {
        (number, last) = viewer.numbered().await.unwrap();
    }
    encoder.finish().await;
    let (headers, _) = assert_slate(&mut viewer, &clip, last).await;
    assert_eq!(headers, 1, "only the video's header has changed");
    while rtmp.numbered().await.unwrap().0 < SLATE {}
    while viewer.next().await.is_some() {}
    while rtmp.next().await.is_some() {}
    eventually("the end on every media node", async || {
        edges[1].api("/api/v1/streams").await == json!([])
    })
    .await;
}

#[tokio::test]
async fn last_keyframe_is_repeated_with_silence_until_the_encoder_returns() {
    let repeat = |config: &mut NodeConfig| config.stream.repeat_last_keyframe = true;
    let origins = origins::<2>(repeat).await;
    let edges = [edge(&origins, repeat).await, edge(&origins, repeat).await];
    let first = Publisher::with_group(edges[0].addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edges[1].addresses.http, "/live/a.flv").await;
    let mut last = watch_group(&mut viewer).await;
    first.finish().await;
    let (mut keyframes, mut silences) = (0, 0);
    while keyframes < 6 {
        let message = within_deadline("the slate", viewer.next()).await.unwrap();
        assert!(message.timestamp >= last, "{message:?} after {last}");
        last = message.timestamp;
        if message.kind == MediaKind::Video {
            assert_eq!((number(&message), message.is_keyframe()), (Some(0), true));
            keyframes += 1;
        } else {
            assert_eq!(message.payload[..], *b"\xAF\x01\x21\0\0\0\0\x1C");
            silences += 1;
        }
    }
    // 250 ms are more than ten packets of audio.
    assert!(silences > 50, "{silences}");
    let mut second = Publisher::start(edges[0].addresses.rtmp, "live/a").await;
    second.send_headers().await;
    second.send_group(100).await;
    while viewer.numbered().await.unwrap().0 != 109 {}
}

#[tokio::test]
async fn encoder_is_accepted_by_policy_reject_while_the_slate_is_shown() {
    let clip = clip();
    let folder = write(&clip);
    let node = TestNode::with(|config| {
        with_slate(&folder, 60)(config);
        config.stream.duplicate_publish = media_config::DuplicatePublish::Reject;
    })
    .await;
    let first = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;
    first.finish().await;
    assert_slate(&mut viewer, &clip, 0).await;
    let mut second = Publisher::start(node.addresses.rtmp, "live/a").await;
    second.send_headers().await;
    second.send_group(100).await;
    while viewer.numbered().await.unwrap().0 != 109 {}
}

#[tokio::test]
async fn file_that_is_no_slate_keeps_an_origin_from_starting() {
    let folder = write(&clip()[2..3]);
    let mut config = NodeConfig::default();
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.listen.rtmp = Some(free);
    config.listen.http = Some(free);
    config.listen.internal = free;
    config.listen.metrics = Some(free);
    with_slate(&folder, 60)(&mut config);
    let error = Node::bind(config).await.err().unwrap().to_string();
    assert!(error.starts_with("slate: "), "{error}");
    assert!(
        error.ends_with("slate.flv: the clip lasts 40 ms, it must last at least 1 s"),
        "{error}"
    );
}
