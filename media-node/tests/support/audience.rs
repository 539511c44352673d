//! Viewers of one stream on every node of a cluster, by both protocols, that have to receive exactly what was sent.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media_node::NodeConfig;
use media_wire::{MediaKind, Message};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{
    FlvViewer, Publisher, RtmpViewer, TestNode, edge, origins, with_longer_deadline,
    within_deadline,
};

/// One origin and two edges, with windows that hold every clip, and encoders that may wait for their viewers.
pub(crate) async fn cluster(change: impl Fn(&mut NodeConfig)) -> [TestNode; 3] {
    let change = |config: &mut NodeConfig| {
        config.stream.publish_idle_timeout_seconds = 600;
        config.stream.continuity_seconds = 3;
        config.stream.window_seconds = 60;
        config.stream.window_max_mebibytes = 64;
        change(config);
    };
    let origins = origins::<1>(change).await;
    let edges = [edge(&origins, change).await, edge(&origins, change).await];
    let ([origin], [first, second]) = (origins, edges);
    [origin, first, second]
}

/// Frames that are all different.
#[derive(Clone, Copy)]
pub(crate) struct Clip {
    /// The timestamp of the first frame.
    pub(crate) from: u32,
    /// Video frames from keyframe to keyframe.
    pub(crate) gop: u32,
    /// Bytes of a keyframe.
    pub(crate) keyframe: usize,
    /// Bytes of another video frame.
    pub(crate) frame: usize,
    /// Makes its frames differ from those of any other clip.
    pub(crate) id: u32,
}

impl Clip {
    /// 25 video frames of 2,000 bytes per second, a keyframe every second.
    pub(crate) const PLAIN: Self = Self {
        from: 0,
        gop: 25,
        keyframe: 8_000,
        frame: 2_000,
        id: 0,
    };

    /// Sequence headers and so many video frames, each with an audio frame 20 ms after it.
    pub(crate) fn messages(self, frames: u32) -> Vec<Message> {
        let message = |kind, timestamp, payload: Vec<u8>| Message {
            kind,
            timestamp,
            payload: payload.into(),
        };
        let id = self.id.to_be_bytes();
        let avc = [&[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F, 0xFF, 0xE0][..], &id].concat();
        let aac = [&[0xAF, 0, 0x12, 0x10][..], &id].concat();
        let mut clip = vec![
            message(MediaKind::Audio, self.from, aac),
            message(MediaKind::Video, self.from, avc),
        ];
        for frame in 0..frames {
            let timestamp = self.from.wrapping_add(frame * 40);
            let number = [id, frame.to_be_bytes()].concat();
            let (first, size) = match frame % self.gop {
                0 => (0x17, self.keyframe),
                _ => (0x27, self.frame),
            };
            let body = number.iter().copied().cycle().take(size);
            let video = [first, 1, 0, 0, 0].into_iter().chain(body).collect();
            let audio = [&[0xAF, 1][..], &number].concat();
            clip.push(message(MediaKind::Video, timestamp, video));
            clip.push(message(MediaKind::Audio, timestamp.wrapping_add(20), audio));
        }
        clip
    }
}

/// Sends messages so many times faster than their timestamps.
pub(crate) async fn publish(publisher: &mut Publisher, clip: &[Message], speed: u32) {
    let start = Instant::now();
    let first = clip.first().map_or(0, |message| message.timestamp);
    for message in clip {
        let after = message.timestamp.wrapping_sub(first) / speed;
        tokio::time::sleep_until(start + Duration::from_millis(after.into())).await;
        publisher.send([message.clone()]).await;
    }
}

/// Messages of [`publish_in_step`] that are sent before viewers must have received them: less than a second of media.
const STEP: usize = 40;

/// Sends messages as fast as all of these viewers receive them: none of them lags, however slow the host is.
pub(crate) async fn publish_in_step(
    publisher: &mut Publisher,
    clip: &[Message],
    viewers: &mut [Watching],
) {
    for step in clip.chunks(STEP) {
        publisher.send(step.iter().cloned()).await;
        received_by_all(viewers, step).await;
    }
}

/// Sends the beginning of a clip, and returns the rest when all viewers have received it: whenever they came, they have begun with the
/// first keyframe.
pub(crate) async fn begin<'a>(
    publisher: &mut Publisher,
    clip: &'a [Message],
    viewers: &mut [Watching],
) -> &'a [Message] {
    // Both sequence headers, a keyframe and audio.
    let (beginning, rest) = clip.split_at(4);
    publisher.send(beginning.iter().cloned()).await;
    received_by_all(viewers, beginning).await;
    rest
}

/// Waits until all viewers have received these messages, after which nothing was sent.
pub(crate) async fn received_by_all(viewers: &mut [Watching], sent: &[Message]) {
    let last = &sent.last().expect("a message").payload;
    for viewer in viewers {
        viewer.received(last).await;
    }
}

/// Ends a stream, and closes the connection when the node has read all of it: a socket that is closed with unread input is reset, and
/// loses what the node has not read yet.
pub(crate) async fn finish(mut publisher: Publisher) {
    publisher.0.connection.finish();
    publisher.0.flush().await;
    let shut = publisher.0.socket.shutdown().await;
    shut.expect("an open connection");
    while publisher.0.event().await.is_some() {}
}

/// What one viewer received until the stream ended.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Every message.
    pub(crate) messages: Vec<Message>,
}

impl Received {
    /// Audio and video frames, without sequence headers.
    pub(crate) fn frames(&self) -> Vec<&Message> {
        frames(self.messages.iter())
    }
}

/// Audio and video frames, without sequence headers.
pub(crate) fn frames<'a>(messages: impl Iterator<Item = &'a Message>) -> Vec<&'a Message> {
    messages
        .filter(|it| it.kind != MediaKind::Data && !it.is_sequence_header())
        .collect()
}

/// A viewer in its own task, which panics when a message is torn or the stream's end is missing.
pub(crate) struct Watching {
    task: JoinHandle<Received>,
    newest: watch::Receiver<Bytes>,
}

impl Watching {
    /// Returns when a message with this payload has come.
    pub(crate) async fn received(&mut self, payload: &Bytes) {
        let arrived = self.newest.wait_for(|newest| newest == payload);
        let arrived = with_longer_deadline(within_deadline("the message", arrived)).await;
        arrived.expect("the viewer watches");
    }
}

/// Watches a stream on a node until it ends.
pub(crate) fn watch(node: &TestNode, stream: &str, protocol: Protocol) -> Watching {
    watch_at(node.addresses.rtmp, node.addresses.http, stream, protocol)
}

/// Watches a stream at these addresses until it ends.
pub(crate) fn watch_at(
    rtmp: SocketAddr,
    http: SocketAddr,
    stream: &str,
    protocol: Protocol,
) -> Watching {
    let stream = stream.to_owned();
    let (newest, newest_seen) = watch::channel(Bytes::new());
    let task = tokio::spawn(with_longer_deadline(async move {
        let mut received = Received::default();
        let mut push = |message: Message| {
            newest.send_replace(message.payload.clone());
            received.messages.push(message);
        };
        match protocol {
            Protocol::Flv => {
                let path = format!("/{stream}.flv");
                let mut viewer = FlvViewer::open(http, &path).await;
                while let Some(message) = viewer.next().await {
                    push(message);
                }
            }
            Protocol::Rtmp => {
                let mut viewer = RtmpViewer::start(rtmp, &stream).await;
                while let Some(message) = viewer.next().await {
                    push(message);
                }
            }
        }
        received
    }));
    Watching {
        task,
        newest: newest_seen,
    }
}

/// How a viewer watches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Flv,
    Rtmp,
}

/// Watches a stream on every node by both protocols.
pub(crate) fn watch_everywhere(nodes: &[TestNode], stream: &str) -> Vec<Watching> {
    let watch = |node| [Protocol::Flv, Protocol::Rtmp].map(|it| watch(node, stream, it));
    nodes.iter().flat_map(watch).collect()
}

/// Where a viewer may start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// At the first frame that was sent.
    Beginning,
    /// At any keyframe.
    Keyframe,
}

/// Fails unless a viewer received every frame that was sent from its start to the end: once, in order, undamaged, at the same pace,
/// after the sequence headers.
pub(crate) fn assert_complete(sent: &[Message], received: &Received, start: Start) {
    let (sent, came) = (frames(sent.iter()), received.frames());
    let first = came.first().expect("at least one frame");
    let at = sent.iter().position(|it| it.payload == first.payload);
    let at = at.expect("the first frame is one that was sent");
    match start {
        Start::Beginning => assert_eq!(at, 0, "the viewer starts at frame {at}"),
        Start::Keyframe => assert!(first.is_keyframe(), "the viewer starts at {first:?}"),
    }
    let shift = first.timestamp.wrapping_sub(sent[at].timestamp);
    for (number, (sent, came)) in sent.iter().skip(at).zip(&came).enumerate() {
        let shown = (sent.timestamp, came.timestamp);
        assert!(
            sent.kind == came.kind && sent.payload == came.payload,
            "frame {number}: another one came, sent and received {shown:?}"
        );
        let moved = came.timestamp.wrapping_sub(sent.timestamp);
        assert_eq!(moved, shift, "frame {number}: {shown:?}");
    }
    assert_eq!(came.len(), sent.len() - at, "frames until the end");
    assert_headers_first(received);
}

/// Fails unless both sequence headers come before the first video frame.
fn assert_headers_first(received: &Received) {
    let messages = received.messages.iter();
    let video = |it: &&Message| it.kind == MediaKind::Video && !it.is_sequence_header();
    let before = messages.take_while(|it| !video(it));
    let headers = before.filter(|it| it.is_sequence_header()).count();
    assert_eq!(headers, 2, "sequence headers before the first video frame");
}

/// Waits until the stream has ended for every viewer, and returns what they received.
pub(crate) async fn ended(watching: Vec<Watching>) -> Vec<Received> {
    let tasks = watching.into_iter().map(|viewer| viewer.task);
    let ended = futures::future::try_join_all(tasks).await;
    ended.expect("no viewer panics")
}
