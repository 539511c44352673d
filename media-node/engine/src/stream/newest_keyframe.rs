//! A copy of the newest keyframe of a stream, which can be shown while no encoder publishes it.

use bytes::Bytes;
use media_wire::flv::tags;
use media_wire::{MediaKind, Message};

use super::Stream;
use crate::media_memory::MemoryClaim;

/// The newest keyframe of a stream, with what a decoder needs before it. It counts as media memory until it is dropped.
#[derive(Debug)]
pub struct NewestKeyframe {
    /// The sequence headers, also those of audio tracks.
    pub headers: Vec<Message>,
    /// The keyframe.
    pub keyframe: Message,
    _claim: MemoryClaim,
}

impl Stream {
    /// Returns the keyframe where viewers start, unless the log has none.
    pub fn newest_keyframe(&self) -> Option<NewestKeyframe> {
        let segment = {
            let window = self.window();
            window.get(window.newest_start()?)?.clone()
        };
        let tag = tags(segment.flv()).next().filter(|_| segment.keyframe)?;
        let payload = Bytes::copy_from_slice(segment.flv().get(tag.payload)?);
        let messages = segment.init_data.messages(tag.timestamp);
        let claim = MemoryClaim::new(self.memory(), payload.len());
        Some(NewestKeyframe {
            headers: messages.filter(|it| it.kind != MediaKind::Data).collect(),
            keyframe: Message {
                kind: tag.kind,
                timestamp: tag.timestamp,
                payload,
            },
            _claim: claim,
        })
    }
}
