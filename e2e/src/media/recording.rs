//! What was sent or received, packet by packet.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use media_wire::flv::{FlvItem, TagReader};
use media_wire::media::PacketType;
use media_wire::{MediaKind, Message};

/// One audio or video message, without its bytes.
#[derive(Clone, Copy)]
pub struct Packet {
    /// When it was sent or received.
    pub at: Instant,
    /// Audio or video.
    pub kind: MediaKind,
    /// Milliseconds.
    pub timestamp: u32,
    /// Bytes of the payload.
    pub size: usize,
    /// Hash of the payload.
    pub hash: u64,
    /// Whether a viewer can start here.
    pub keyframe: bool,
    /// A decoder configuration, or Enhanced RTMP's colour metadata or description of the audio channels, which viewers need as early.
    pub sequence_header: bool,
    /// Enhanced RTMP's description of the audio channels, or the audio frame without bytes that ffmpeg makes of it.
    pub channels: bool,
}

/// Everything that was sent or received, in order.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Audio and video.
    pub packets: Vec<Packet>,
}

impl Packet {
    fn of(message: &Message) -> Self {
        let mut hasher = DefaultHasher::new();
        message.payload.hash(&mut hasher);
        let packet_type = message.header().packet_type;
        Self {
            at: Instant::now(),
            kind: message.kind,
            timestamp: message.timestamp,
            size: message.payload.len(),
            hash: hasher.finish(),
            keyframe: message.is_keyframe(),
            sequence_header: matches!(
                packet_type,
                PacketType::SequenceHeader
                    | PacketType::VideoMetadata
                    | PacketType::MultichannelConfig
            ),
            channels: packet_type == PacketType::MultichannelConfig
                || (message.kind == MediaKind::Audio && is_empty_frame(&message.payload)),
        }
    }

    /// Whether it holds the same bytes.
    pub fn is_same_media(&self, other: &Self) -> bool {
        self.kind == other.kind && self.hash == other.hash && self.size == other.size
    }

    /// Whether it is a video frame, not a sequence header.
    pub fn is_video_frame(&self) -> bool {
        self.kind == MediaKind::Video && !self.sequence_header
    }

    /// Whether its time is before that of another packet. A wrap at 2^32 is a step forward.
    pub fn goes_back_from(&self, before: &Self) -> bool {
        self.timestamp.wrapping_sub(before.timestamp) > u32::MAX / 2
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.kind, self.keyframe, self.sequence_header) {
            (MediaKind::Video, true, _) => "keyframe",
            (MediaKind::Video, _, true) => "video header",
            (MediaKind::Video, ..) => "video",
            (MediaKind::Audio, _, true) => "audio header",
            (MediaKind::Audio, ..) => "audio",
            (MediaKind::Data, ..) => "data",
        };
        let hash = self.hash & 0xFFFF_FFFF;
        write!(f, "{kind} {}ms {}B #{hash:08x}", self.timestamp, self.size)
    }
}

impl Recording {
    /// Adds a message. Data messages are left out.
    pub fn push(&mut self, message: &Message) {
        if message.kind != MediaKind::Data {
            self.packets.push(Packet::of(message));
        }
    }

    /// Reads a whole FLV file.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let bytes = std::fs::read(file).with_context(|| format!("read {shown}"))?;
        let mut input = BytesMut::from(&*bytes);
        let mut reader = TagReader::new(MAX_TAG);
        let mut recording = Self::default();
        while let Some(item) = reader
            .receive(&mut input)
            .with_context(|| format!("parse {shown}"))?
        {
            if let FlvItem::Tag(message) = item {
                recording.push(&message);
            }
        }
        Ok(recording)
    }

    /// The audio and video frames, without sequence headers.
    pub fn frames(&self) -> Vec<Packet> {
        let frames = self.packets.iter().filter(|it| !it.sequence_header);
        frames.copied().collect()
    }

    /// The video frames.
    pub fn video_frames(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(|packet| packet.is_video_frame())
    }

    /// The recording as ffmpeg writes it: nothing before the first keyframe where there is video, and ffmpeg's own description
    /// of the audio channels, wherever the description was in the stream.
    pub fn as_ffmpeg_writes(mut self) -> Self {
        let first = self.packets.iter().position(|packet| packet.keyframe);
        let first = first.unwrap_or_default();
        let mut index = 0;
        self.packets.retain(|packet| {
            index += 1;
            !packet.channels && (packet.sequence_header || index > first)
        });
        self
    }

    /// Whether the last packet of what was sent is the last one here.
    pub fn has_end_of(&self, sent: &Recording) -> bool {
        let ends = (self.packets.last(), sent.packets.last());
        matches!(ends, (Some(received), Some(sent)) if received.is_same_media(sent))
    }

    /// Fails unless the timestamps of audio and those of video only go forward.
    pub fn assert_monotonic(&self) -> Result<()> {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            only_forward(self.packets.iter().filter(|packet| packet.kind == kind))?;
        }
        Ok(())
    }

    /// The longest time without a video frame, from the first one to the end.
    pub fn longest_stall(&self, end: Instant) -> Duration {
        let arrivals = || self.video_frames().map(|frame| frame.at);
        arrivals()
            .zip(arrivals().skip(1).chain([end]))
            .map(|(before, after)| after.saturating_duration_since(before))
            .max()
            .unwrap_or_default()
    }
}

/// Fails when a timestamp is lower than the one before it.
pub(super) fn only_forward<'a>(packets: impl Iterator<Item = &'a Packet>) -> Result<()> {
    let mut before: Option<&Packet> = None;
    for after in packets {
        if let Some(before) = before
            && after.goes_back_from(before)
        {
            bail!("time goes back: {after:?} is after {before:?}");
        }
        before = Some(after);
    }
    Ok(())
}

/// Whether an audio packet of Enhanced RTMP ends with its FourCC.
fn is_empty_frame(payload: &[u8]) -> bool {
    matches!(payload, [first, _, _, _, _] if first >> 4 == 9)
}

/// Larger than any tag of a clip.
pub(super) const MAX_TAG: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::frames::Codecs;
    use super::*;

    #[test]
    fn longest_stall_lasts_from_frame_to_frame_or_to_the_end() {
        let mut recording = Recording::default();
        for number in 0..3 {
            for message in Codecs::H264Aac.frames(1, number, 0) {
                recording.push(&message);
            }
        }
        let start = Instant::now();
        for (packet, after) in recording.packets.iter_mut().zip([0, 0, 40, 40, 400, 400]) {
            packet.at = start + Duration::from_millis(after);
        }
        let stall = |end| recording.longest_stall(start + Duration::from_millis(end));
        assert_eq!(stall(410), Duration::from_millis(360));
        assert_eq!(stall(900), Duration::from_millis(500));
    }

    #[test]
    fn wrap_of_timestamps_goes_forward() {
        let at = |timestamp| {
            let mut recording = Recording::default();
            recording.push(&Codecs::Aac.frames(1, 0, timestamp)[0]);
            recording.packets.remove(0)
        };
        let monotonic = |packets: [Packet; 2]| {
            let packets = packets.to_vec();
            Recording { packets }.assert_monotonic()
        };
        monotonic([at(u32::MAX - 5), at(3)]).unwrap();
        monotonic([at(10), at(9)]).unwrap_err();
    }
}
