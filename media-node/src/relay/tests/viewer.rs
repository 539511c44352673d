//! Viewers without a protocol, which remember the frames that they got.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use media_engine::{Cursor, CursorEvent, Stream};
use media_wire::flv::{FlvItem, TagReader};
use media_wire::{MediaKind, Message};
use tokio::time::timeout;

use super::cluster::LIMIT;
use super::encoder::RelayEncoder;

/// One frame as a viewer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViewedFrame {
    pub(super) epoch: u64,
    pub(super) number: u32,
    pub(super) timestamp: u32,
    pub(super) keyframe: bool,
}

pub(super) struct RelayViewer {
    cursor: Cursor,
    pub(super) stream: Arc<Stream>,
    reader: TagReader,
    input: BytesMut,
    pub(super) frames: Vec<ViewedFrame>,
}

impl RelayViewer {
    pub(super) fn new(stream: Arc<Stream>, cursor: Cursor) -> Self {
        Self {
            cursor,
            stream,
            reader: TagReader::new(1 << 20),
            input: BytesMut::new(),
            frames: Vec::new(),
        }
    }

    /// Watches until it gets this frame of this publication, or a later one.
    pub(super) async fn watch_until(&mut self, epoch: u64, number: u32) {
        let watched = timeout(LIMIT, async {
            while self
                .frames
                .last()
                .is_none_or(|last| (last.epoch, last.number) < (epoch, number))
            {
                self.read().await;
            }
        });
        if watched.await.is_err() {
            let last = self.frames.last();
            panic!("frame {number} of {epoch} did not arrive; the last one: {last:?}");
        }
        self.reads_later();
    }

    /// Lets the log keep what comes until the viewer reads again: the test has other ones to watch meanwhile.
    fn reads_later(&mut self) {
        self.cursor.fall_behind();
    }

    /// Watches until it gets a frame of this publication.
    pub(super) async fn watch_epoch(&mut self, epoch: u64) {
        let is_of = |frame: &ViewedFrame| frame.epoch == epoch;
        let watched = timeout(LIMIT, async {
            while !self.frames.last().is_some_and(is_of) {
                self.read().await;
            }
        });
        watched.await.expect("the publication in time");
        self.reads_later();
    }

    /// Watches some more frames of a running encoder.
    pub(super) async fn watch_on(&mut self, encoder: &RelayEncoder) {
        self.watch_until(encoder.epoch, encoder.sent() + 5).await;
    }

    async fn read(&mut self) {
        match self.cursor.next().await {
            CursorEvent::Batch(mut batch) => self.input.put(batch.copy_to_bytes(batch.remaining())),
            CursorEvent::Ended => panic!("the stream ended after {:?}", self.frames.last()),
        }
        while let Some(item) = self.reader.receive(&mut self.input).unwrap() {
            let FlvItem::Tag(Message {
                kind: MediaKind::Video,
                mut payload,
                timestamp,
            }) = item
            else {
                continue;
            };
            if payload.len() > 20 {
                let keyframe = payload[0] == 0x17;
                payload.advance(5);
                self.frames.push(ViewedFrame {
                    epoch: payload.get_u64(),
                    number: payload.get_u32(),
                    timestamp,
                    keyframe,
                });
            }
        }
    }

    /// Asserts that no frame of a publication is lost or repeated, that timestamps increase, also from one publication to
    /// the next, and that each publication starts at a keyframe.
    pub(super) fn assert_continuous(&self) {
        for pair in self.frames.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            assert!(
                after.timestamp > before.timestamp,
                "timestamps decrease: {before:?} {after:?}"
            );
            if before.epoch == after.epoch {
                assert_eq!(after.number, before.number + 1, "{before:?} {after:?}");
            } else {
                assert!(
                    after.epoch > before.epoch && after.keyframe,
                    "{before:?} {after:?}"
                );
            }
        }
    }
}
