//! Encoders that send all the time, and a viewer that judges what it receives of them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::support::{FlvViewer, Publisher, TestNode};

/// The numbers of the frames of one encoder.
const NUMBERS: u32 = 1_000_000;

/// Frames from keyframe to keyframe.
const GROUP: u32 = 10;

/// The encoder with this number, by which a viewer recognizes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u32);

pub(super) fn source(number: u32) -> Source {
    Source(number)
}

/// An encoder that sends a group of frames all the time, and closes its connection when it is dropped.
pub(super) struct Feed(JoinHandle<()>);

impl Feed {
    pub(super) async fn start(node: &TestNode, stream: &str, number: u32) -> Self {
        let mut publisher = Publisher::start(node.addresses.rtmp, stream).await;
        publisher.send_headers().await;
        Self::resume(publisher, number * NUMBERS)
    }

    /// Sends groups from this frame on.
    pub(super) fn resume(mut publisher: Publisher, first: u32) -> Self {
        Self(tokio::spawn(async move {
            for first in (first..).step_by(GROUP as usize) {
                publisher.send_group(first).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A viewer that fails when a frame is repeated or lost inside of a publication, when the time does not go forward, and when another
/// encoder's frames do not begin with a keyframe.
pub(super) struct Spliced {
    viewer: FlvViewer,
    last: HashMap<Source, u32>,
    source: Option<Source>,
    timestamp: Option<u32>,
}

impl Spliced {
    pub(super) async fn watch(node: &TestNode, stream: &str) -> Self {
        Self {
            viewer: FlvViewer::open(node.addresses.http, &format!("/{stream}.flv")).await,
            last: HashMap::new(),
            source: None,
            timestamp: None,
        }
    }

    /// Returns the encoder of the last frame.
    pub(super) fn source(&self) -> Source {
        self.source.expect("a frame")
    }

    /// Watches until a whole group of this encoder was received.
    pub(super) async fn until(&mut self, source: Source) {
        while self.frame().await != source {}
        self.frames(GROUP - 1).await;
    }

    /// Watches so many frames.
    pub(super) async fn frames(&mut self, count: u32) {
        for _ in 0..count {
            self.frame().await;
        }
    }

    async fn frame(&mut self) -> Source {
        let (number, timestamp) = self.viewer.numbered().await.expect("the stream goes on");
        let source = Source(number / NUMBERS);
        let last = self.last.insert(source, number);
        if self.source.replace(source) == Some(source) {
            assert_eq!(last, number.checked_sub(1), "frame {number} of {source:?}");
        } else {
            assert_eq!(number % GROUP, 0, "{source:?} begins with a keyframe");
            assert!(last < Some(number), "frame {number} after {last:?}");
        }
        let before = self.timestamp.replace(timestamp);
        assert!(before < Some(timestamp), "{timestamp} after {before:?}");
        source
    }
}
