//! What was sent or received, packet by packet, and whether the one is the other.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use media_wire::flv::{FlvItem, TagReader, Tracks};
use media_wire::{MediaKind, Message};

/// One audio or video message, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Audio or video.
    pub kind: MediaKind,
    /// Milliseconds.
    pub timestamp: u32,
    /// Bytes.
    pub size: usize,
    /// Of all of its bytes.
    pub hash: u64,
    /// A viewer can start here.
    pub keyframe: bool,
    /// A decoder's configuration, or Enhanced RTMP's metadata about colours, which viewers need as early.
    pub sequence_header: bool,
    /// Enhanced RTMP's word about the channels of sound.
    pub channels: bool,
}

/// Everything that came, in order.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What the FLV file header announced, where there was one.
    pub tracks: Option<Tracks>,
    /// Audio and video.
    pub packets: Vec<Packet>,
    /// Metadata and other data messages.
    pub data: Vec<Message>,
}

impl Packet {
    fn of(message: &Message) -> Self {
        let mut hasher = DefaultHasher::new();
        message.payload.hash(&mut hasher);
        Self {
            kind: message.kind,
            timestamp: message.timestamp,
            size: message.payload.len(),
            hash: hasher.finish(),
            keyframe: message.is_keyframe(),
            sequence_header: message.is_sequence_header() || is_about_colours(message),
            channels: message.kind == MediaKind::Audio
                && message.payload.first() == Some(&MULTICHANNEL_CONFIG),
        }
    }

    pub(super) fn is_same_media(&self, other: &Self) -> bool {
        self.kind == other.kind && self.hash == other.hash && self.size == other.size
    }
}

fn is_about_colours(message: &Message) -> bool {
    let first = message.payload.first().copied().unwrap_or_default();
    message.kind == MediaKind::Video && first & 0x8F == 0x84
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
    /// Takes one more message.
    pub fn push(&mut self, message: Message) {
        match message.kind {
            MediaKind::Data => self.data.push(message),
            MediaKind::Audio | MediaKind::Video => self.packets.push(Packet::of(&message)),
        }
    }

    /// Reads a whole FLV file.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let mut input =
            BytesMut::from(&*std::fs::read(file).with_context(|| format!("read {shown}"))?);
        let mut reader = TagReader::new(MAX_TAG);
        let mut recording = Self::default();
        while let Some(item) = reader
            .receive(&mut input)
            .with_context(|| format!("parse {shown}"))?
        {
            recording.item(item);
        }
        Ok(recording)
    }

    /// What a publisher of these messages sends.
    pub fn of(messages: &[Message]) -> Self {
        let mut recording = Self::default();
        messages
            .iter()
            .for_each(|message| recording.push(message.clone()));
        recording
    }

    /// Takes what a [`TagReader`] found.
    pub fn item(&mut self, item: FlvItem) {
        match item {
            FlvItem::Header(tracks) => self.tracks = Some(tracks),
            FlvItem::Tag(message) => self.push(message),
        }
    }

    /// The packets that are pictures and sound, without the decoders' configurations.
    pub fn media(&self) -> Vec<Packet> {
        self.packets
            .iter()
            .filter(|packet| !packet.sequence_header)
            .copied()
            .collect()
    }

    /// Without the packets that satisfy `dropped`: players have their ways.
    pub fn without(mut self, dropped: impl Fn(&Packet) -> bool) -> Self {
        self.packets.retain(|packet| !dropped(packet));
        self
    }

    /// As ffmpeg writes what it reads: nothing from before the first keyframe where there are pictures, and its own word
    /// about channels in front, wherever it came in.
    pub fn as_ffmpeg_writes(mut self) -> Self {
        let first = self
            .packets
            .iter()
            .position(|packet| packet.keyframe)
            .unwrap_or_default();
        let mut index = 0;
        self.packets.retain(|packet| {
            index += 1;
            packet.sequence_header || (index > first && !packet.channels)
        });
        self
    }

    /// Whether the end of what was published has come.
    pub fn has_end_of(&self, published: &Recording) -> bool {
        let ends = (self.packets.last(), published.packets.last());
        matches!(ends, (Some(received), Some(sent)) if received.is_same_media(sent))
    }

    /// Fails unless the time of the sound and that of the picture only go forward.
    pub fn is_monotonic(&self) -> Result<()> {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let packets = || self.packets.iter().filter(|packet| packet.kind == kind);
            for (before, after) in packets().zip(packets().skip(1)) {
                // Half of the range: a wrap at 2^32 is a step forward.
                if after.timestamp.wrapping_sub(before.timestamp) > u32::MAX / 2 {
                    bail!("time goes back: {after:?} came after {before:?}");
                }
            }
        }
        Ok(())
    }

    /// The longest step of time between two packets, in milliseconds.
    pub fn longest_step(&self) -> u32 {
        let steps = self.packets.iter().zip(self.packets.iter().skip(1));
        steps
            .map(|(before, after)| after.timestamp.wrapping_sub(before.timestamp))
            .max()
            .unwrap_or_default()
    }
}

/// Sound format 9 is Enhanced RTMP, its packet type 4 the layout of channels.
const MULTICHANNEL_CONFIG: u8 = 0x94;

/// Larger than anything that a clip has.
pub const MAX_TAG: usize = 16 << 20;
