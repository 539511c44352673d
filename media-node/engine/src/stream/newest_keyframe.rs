//! A copy of the newest keyframe of a stream, which can be shown while no encoder publishes it.

use bytes::Bytes;
use media_wire::flv::{Tag, tags};
use media_wire::{MediaKind, Message};

use super::Stream;
use crate::media_memory::MemoryClaim;
use crate::segment::Segment;

/// The newest keyframe of a stream, with what a decoder needs before it. It counts as media memory until it is dropped.
#[derive(Debug)]
pub struct NewestKeyframe {
    /// The sequence headers, also those of audio tracks.
    pub headers: Vec<Message>,
    /// A recent audio packet of the same publication. Some codecs have no sequence headers.
    pub audio: Option<Message>,
    /// The keyframe.
    pub keyframe: Message,
    _claim: MemoryClaim,
}

impl Stream {
    /// Returns the keyframe where viewers start, unless the log has none.
    pub fn newest_keyframe(&self) -> Option<NewestKeyframe> {
        let (start, newest_first) = {
            let window = self.window();
            let start = window.get(window.newest_start()?)?.clone();
            let newest_first: Vec<_> = window.newest_first().cloned().collect();
            (start, newest_first)
        };
        let tag = tags(start.flv()).next().filter(|_| start.keyframe)?;
        let keyframe = copy_of(&start, tag)?;
        let audio = newest_first
            .iter()
            .take_while(|segment| segment.mark.epoch == start.mark.epoch)
            .find_map(|segment| first_audio(segment));
        let messages = start.init_data.messages(keyframe.timestamp);
        let bytes = [Some(&keyframe), audio.as_ref()].into_iter().flatten();
        let bytes = bytes.map(|message| message.payload.len()).sum();
        Some(NewestKeyframe {
            headers: messages.filter(|it| it.kind != MediaKind::Data).collect(),
            audio,
            keyframe,
            _claim: MemoryClaim::new(self.memory(), bytes),
        })
    }
}

/// Returns a copy of a segment's first audio packet, of the first track.
fn first_audio(segment: &Segment) -> Option<Message> {
    let mut tags = tags(segment.flv()).filter(|tag| tag.kind == MediaKind::Audio);
    tags.find_map(|tag| copy_of(segment, tag).filter(|audio| audio.header().track == 0))
}

fn copy_of(segment: &Segment, tag: Tag) -> Option<Message> {
    Some(Message {
        kind: tag.kind,
        timestamp: tag.timestamp,
        payload: Bytes::copy_from_slice(segment.flv().get(tag.payload)?),
    })
}
