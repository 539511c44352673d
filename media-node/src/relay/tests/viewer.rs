//! A viewer that remembers what it saw, and when.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use media_engine::{Cursor, CursorEvent, Stream};
use media_wire::flv::{FlvItem, TagReader};
use media_wire::{MediaKind, Message};
use tokio::time::timeout;

use super::support::{Encoder, LIMIT};

/// One frame as a viewer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) epoch: u64,
    pub(super) number: u32,
    pub(super) timestamp: u32,
    pub(super) keyframe: bool,
    pub(super) at: tokio::time::Instant,
}

pub(super) struct Viewer {
    cursor: Cursor,
    pub(super) stream: Arc<Stream>,
    reader: TagReader,
    input: BytesMut,
    pub(super) frames: Vec<Frame>,
}

impl Viewer {
    pub(super) fn new(stream: Arc<Stream>, cursor: Cursor) -> Self {
        Self {
            cursor,
            stream,
            reader: TagReader::new(1 << 20),
            input: BytesMut::new(),
            frames: Vec::new(),
        }
    }

    /// Watches until a frame of this publication with this number or a later one has come.
    pub(super) async fn until(&mut self, epoch: u64, number: u32) {
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
            panic!(
                "frame {number} of {epoch} did not come; the last one: {:?}",
                self.frames.last()
            );
        }
    }

    /// Watches a running encoder for some more frames.
    pub(super) async fn go_on(&mut self, encoder: &Encoder) {
        self.until(encoder.epoch, encoder.sent() + 5).await;
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
                let (epoch, number) = (payload.get_u64(), payload.get_u32());
                let at = tokio::time::Instant::now();
                self.frames.push(Frame {
                    epoch,
                    number,
                    timestamp,
                    keyframe,
                    at,
                });
            }
        }
    }

    /// Each frame of a publication once, none missing; time goes on, also from one publication to the next, which begins
    /// at a keyframe.
    pub(super) fn check(&self) {
        for pair in self.frames.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            assert!(
                after.timestamp > before.timestamp,
                "time goes back: {before:?} {after:?}"
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

    /// The longest time without a frame.
    pub(super) fn longest_gap(&self) -> Duration {
        let gaps = self.frames.windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.max().unwrap_or_default()
    }
}
