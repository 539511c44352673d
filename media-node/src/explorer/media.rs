//! The media of the explorer's encoders. Each message says which encoder sent it, and which one it is, so that none can be
//! confused with another.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use media_wire::amf0::{Value, encode_all};
use media_wire::flv::{Tracks, file_header, write_tag};
use media_wire::media::Silence;
use media_wire::{MediaKind, Message};

/// Video frames per second. Each has an audio frame after it.
pub(super) const RATE: u32 = 10;

/// Video frames from keyframe to keyframe.
pub(super) const GOP: u32 = 10;

/// Time from keyframe to keyframe.
pub(super) const GROUP: Duration = Duration::from_secs((GOP / RATE) as u64);

/// The encoder and the encoding of the slate's messages.
pub(super) const SLATE: u32 = u32::MAX;

/// Frames of the slate, which lasts 1.5 seconds.
pub(super) const SLATE_FRAMES: u32 = 2 * (RATE + 5);

/// Bytes of an audio frame.
pub(super) const AUDIO: usize = 60;

/// Bytes of a stream in a second on their way, with all that protocols add.
pub(super) const STREAM: u32 = 5500;

/// Bytes of media in a second at most, each message in a segment of its own.
pub(super) const BYTES_PER_SECOND: usize = 24 << 10;

/// Set in the encodings of encoders that send only one track.
const ONLY_VIDEO: u32 = 1 << 30;
const ONLY_AUDIO: u32 = 1 << 31;

/// The tracks that an encoder sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SentTracks {
    #[default]
    Both,
    Video,
    Audio,
}

impl SentTracks {
    fn of(encoding: u32) -> Self {
        match encoding & (ONLY_VIDEO | ONLY_AUDIO) {
            ONLY_VIDEO => Self::Video,
            ONLY_AUDIO => Self::Audio,
            // The slate has all bits.
            _ => Self::Both,
        }
    }

    /// Returns the encoding of this number with these tracks.
    pub(super) fn encoding(self, number: u32) -> u32 {
        number
            | match self {
                Self::Both => 0,
                Self::Video => ONLY_VIDEO,
                Self::Audio => ONLY_AUDIO,
            }
    }
}

/// What identifies a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The encoder. One that starts again is another one.
    pub(super) encoder: u32,
    /// The encoding. It is that of the sequence headers before it.
    pub(super) encoding: u32,
    /// The number among all video and audio frames of the encoder.
    pub(super) number: u32,
    /// When it was sent, in milliseconds of the network's time.
    pub(super) sent: u32,
}

/// A message of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Metadata,
    /// A sequence header.
    Header(MediaKind, u32),
    /// Silence, with a keyframe that is repeated.
    Silence,
    Frame(Identity),
}

impl Identity {
    pub(super) fn kind(self) -> MediaKind {
        match self.tracks() {
            SentTracks::Video => MediaKind::Video,
            SentTracks::Both if self.number.is_multiple_of(2) => MediaKind::Video,
            SentTracks::Both | SentTracks::Audio => MediaKind::Audio,
        }
    }

    /// Returns the tracks of its encoder.
    pub(super) fn tracks(self) -> SentTracks {
        SentTracks::of(self.encoding)
    }

    /// Returns how many frames its encoder sends at a time.
    pub(super) fn frames(self) -> u32 {
        if self.tracks() == SentTracks::Both {
            2
        } else {
            1
        }
    }

    pub(super) fn is_keyframe(self) -> bool {
        self.kind() == MediaKind::Video && self.number == self.group()
    }

    /// Returns the number of the keyframe of its group of pictures.
    pub(super) fn group(self) -> u32 {
        self.number - self.number % (self.frames() * GOP)
    }

    /// Returns whether a decoder can begin with it.
    pub(super) fn is_start(self) -> bool {
        self.is_keyframe() || self.tracks() == SentTracks::Audio
    }

    /// Returns the payload of this message.
    fn payload(self) -> Bytes {
        // Video has one NAL unit: its length, and a slice of a keyframe or another one.
        let (header, size): (&[u8], usize) = match self.kind() {
            MediaKind::Video if self.is_keyframe() => {
                (&[0x17, 1, 0, 0, 0, 0, 0, 0x05, 0xD3, 0x65], 1500)
            }
            MediaKind::Video => (&[0x27, 1, 0, 0, 0, 0, 0, 0, 0xF1, 0x41], 250),
            MediaKind::Audio | MediaKind::Data => (&[0xAF, 1], AUDIO),
        };
        let mut payload = BytesMut::with_capacity(size);
        payload.put_slice(header);
        payload.put_u32(self.encoder);
        payload.put_u32(self.encoding);
        payload.put_u32(self.number);
        payload.put_u32(self.sent);
        // No two payloads have the same end, so that one that is torn is noticed.
        let fill = self.number.wrapping_mul(31).wrapping_add(self.encoder);
        payload.resize(size, fill.to_be_bytes()[3]);
        payload.freeze()
    }

    /// Returns the message, as sent at this time of the encoder.
    pub(super) fn message(self, timestamp: u32) -> Message {
        message(self.kind(), timestamp, self.payload())
    }
}

/// Returns metadata and the sequence headers of an encoding, as sent at this time of the encoder.
pub(super) fn headers(encoding: u32, timestamp: u32) -> Vec<Message> {
    let tracks = SentTracks::of(encoding);
    let codec = |name: &str, id: f64| (name.to_owned(), Value::Number(id));
    let video = (
        codec("videocodecid", 7.0),
        message(MediaKind::Video, timestamp, header(AVC, encoding)),
    );
    let audio = (
        codec("audiocodecid", 10.0),
        message(MediaKind::Audio, timestamp, header(AAC, encoding)),
    );
    let sent = match tracks {
        SentTracks::Both => vec![video, audio],
        SentTracks::Video => vec![video],
        SentTracks::Audio => vec![audio],
    };
    let (properties, headers): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
    let metadata = encode_all(&[Value::from("onMetaData"), Value::EcmaArray(properties)]);
    let metadata = message(MediaKind::Data, 0, metadata.into());
    std::iter::once(metadata).chain(headers).collect()
}

/// Writes the slate as an FLV file.
pub(super) fn write_slate(path: &Path) -> io::Result<()> {
    let tracks = Tracks {
        audio: true,
        video: true,
    };
    let mut file = file_header(tracks).to_vec();
    let frames = (0..SLATE_FRAMES).map(|number| {
        let frame = Identity {
            encoder: SLATE,
            encoding: SLATE,
            number,
            sent: 0,
        };
        frame.message(number / 2 * (1000 / RATE))
    });
    for message in headers(SLATE, 0).into_iter().chain(frames) {
        write_tag(&mut file, message.kind, message.timestamp, &message.payload);
    }
    std::fs::write(path, file)
}

/// Returns what a message is, or `None` when no encoder has sent it so.
pub(super) fn content(message: &Message) -> Option<Content> {
    let payload = &message.payload;
    let (start, start_of_header) = match message.kind {
        MediaKind::Data => return Some(Content::Metadata),
        MediaKind::Video => (10, AVC),
        MediaKind::Audio => (2, AAC),
    };
    if payload.starts_with(start_of_header) {
        let mut rest = payload.get(start_of_header.len()..)?;
        return (rest.len() == 4).then(|| Content::Header(message.kind, rest.get_u32()));
    }
    if message.kind == MediaKind::Audio && payload == silence() {
        return Some(Content::Silence);
    }
    let mut rest = payload.get(start..start + 16)?;
    let identity = Identity {
        encoder: rest.get_u32(),
        encoding: rest.get_u32(),
        number: rest.get_u32(),
        sent: rest.get_u32(),
    };
    (identity.kind() == message.kind && identity.payload() == *payload)
        .then_some(Content::Frame(identity))
}

/// Returns what media nodes send instead of audio while they repeat a keyframe.
pub(super) fn silence() -> &'static Bytes {
    static SILENCE: OnceLock<Silence> = OnceLock::new();
    let header = || message(MediaKind::Audio, 0, header(AAC, 0));
    let silence = SILENCE.get_or_init(|| Silence::after(&header()).expect("AAC of two channels"));
    silence.packet()
}

const AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1e\xff\xe1\0\0\x01\0\0";
const AAC: &[u8] = b"\xaf\0\x12\x10";

fn header(start: &[u8], encoding: u32) -> Bytes {
    [start, &encoding.to_be_bytes()].concat().into()
}

fn message(kind: MediaKind, timestamp: u32, payload: Bytes) -> Message {
    Message {
        kind,
        timestamp,
        payload,
    }
}
