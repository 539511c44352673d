//! Silence in the codec of an audio track, written from the codecs' standards.

mod aac;
mod flac;
mod mp3;
mod opus;
mod pcm;

use bytes::Bytes;

use super::codec::Codec;
use super::{MediaKind, Message};
use crate::fields::take;

/// Packets of silence, each with the header of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    packet: Bytes,
    /// Samples of a packet for each channel.
    samples: u32,
    /// Samples in a second.
    rate: u32,
}

/// A frame of silence, without the header of a payload.
struct Frame {
    bytes: Vec<u8>,
    /// Samples for each channel.
    samples: u32,
    /// Samples in a second.
    rate: u32,
}

/// The first byte of a sequence header of Enhanced RTMP.
const SEQUENCE_START: u8 = 0x90;

/// The first byte of frames of Enhanced RTMP.
const CODED_FRAMES: u8 = 0x91;

impl Silence {
    /// Returns silence for the track of a sequence header, or that of a frame in a codec without sequence headers.
    ///
    /// Known are AAC and Opus of one to eight channels, MP3, linear PCM, G.711 and FLAC. Returns `None` for any other codec, and for
    /// multitrack.
    pub fn after(message: &Message) -> Option<Self> {
        if message.kind != MediaKind::Audio {
            return None;
        }
        let mut body = &message.payload[..];
        let [first] = take(&mut body)?;
        let (header, frame) = match (first, Codec::of_sound_format(first >> 4)) {
            (SEQUENCE_START | CODED_FRAMES, _) => {
                let four_cc = take::<4>(&mut body)?;
                let frame = match (first, Codec::of_four_cc(four_cc)) {
                    (SEQUENCE_START, Codec::Aac) => aac::frame(body),
                    (SEQUENCE_START, Codec::Opus) => opus::frame(body),
                    (SEQUENCE_START, Codec::Flac) => flac::frame(body),
                    (CODED_FRAMES, Codec::Mp3) => mp3::frame(body),
                    _ => None,
                };
                ([&[CODED_FRAMES], &four_cc[..]].concat(), frame?)
            }
            (_, Some(Codec::Aac)) => match take(&mut body)? {
                // A sequence header. Frames have the packet type 1.
                [0] => (vec![first, 1], aac::frame(body)?),
                _ => return None,
            },
            (_, Some(Codec::Mp3)) => (vec![first], mp3::frame(body)?),
            (_, Some(codec)) => (vec![first], pcm::frame(first, codec)?),
            (_, None) => return None,
        };
        let Frame {
            bytes,
            samples,
            rate,
        } = frame;
        // A packet lasts from a millisecond to a second, or the sequence header is wrong.
        (samples..=samples * 1000).contains(&rate).then(|| Self {
            packet: [header, bytes].concat().into(),
            samples,
            rate,
        })
    }

    /// Returns a packet.
    pub fn packet(&self) -> &Bytes {
        &self.packet
    }

    /// Returns the time in milliseconds at which a packet begins, of those that begin with number 0 at 0.
    pub fn begin(&self, number: u32) -> u32 {
        let samples = u64::from(number) * u64::from(self.samples);
        u32::try_from(samples * 1000 / u64::from(self.rate)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::MediaHeader;
    use super::*;

    fn after(payload: &'static [u8]) -> Option<Silence> {
        Silence::after(&Message {
            kind: MediaKind::Audio,
            timestamp: 0,
            payload: Bytes::from_static(payload),
        })
    }

    #[test]
    fn aac_has_the_channels_and_the_rate_of_its_configuration() {
        // LC, 44100 Hz, stereo.
        let stereo = after(b"\xAF\0\x12\x10").unwrap();
        assert_eq!(stereo.packet[..], *b"\xAF\x01\x21\0\0\0\0\x1C");
        assert_eq!([0, 1, 2, 43].map(|it| stereo.begin(it)), [0, 23, 46, 998]);
        // LC, 48000 Hz, mono.
        let mono = after(b"\x90mp4a\x11\x88").unwrap();
        assert_eq!(mono.packet[..], *b"\x91mp4a\0\0\0\x07");
        assert_eq!(mono.begin(3), 64);
        // With spectral band replication: the core has 22050 Hz.
        assert_eq!(after(b"\xAF\0\x2B\x92\x08\0").unwrap().begin(1), 46);
    }

    #[test]
    fn opus_has_the_channels_of_its_header() {
        let mono = after(b"\x90OpusOpusHead\x01\x01\0\0\x80\xBB\0\0\0\0\0").unwrap();
        assert_eq!(mono.packet[..], *b"\x91Opus\xF8\xFF\xFE");
        let stereo = after(b"\x90OpusOpusHead\x01\x02\0\0\x80\xBB\0\0\0\0\0").unwrap();
        assert_eq!(stereo.packet[..], *b"\x91Opus\xFC\xFF\xFE");
        assert_eq!(stereo.begin(50), 1000);
    }

    #[test]
    fn opus_of_several_streams_is_silent_in_each() {
        // 5.1: four streams, two of them stereo.
        let header =
            b"\x90OpusOpusHead\x01\x06\0\0\x80\xBB\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        let packet = after(header).unwrap().packet;
        assert_eq!(
            packet[..],
            *b"\x91Opus\xFC\x02\xFF\xFE\xFC\x02\xFF\xFE\xF8\x02\xFF\xFE\xF8\xFF\xFE"
        );
    }

    #[test]
    fn mp3_has_the_version_rate_and_mode_of_the_encoders_frame() {
        // MPEG-1, 128 kbit/s, 44100 Hz, padded, joint stereo.
        let stereo = after(b"\x2F\xFF\xFB\x92\x64\0\0").unwrap();
        assert_eq!(stereo.packet[..5], *b"\x2F\xFF\xFB\x10\x40");
        assert!(stereo.packet[5..].iter().all(|byte| *byte == 0));
        assert_eq!((stereo.packet.len(), stereo.begin(1)), (1 + 104, 26));
        // MPEG-2 with a CRC, 24000 Hz, mono.
        let mono = after(b"\x2A\xFF\xF2\x54\xC4\0\0").unwrap();
        assert_eq!(mono.packet[..5], *b"\x2A\xFF\xF3\x14\xC0");
        assert_eq!((mono.packet.len(), mono.begin(1)), (1 + 24, 24));
        // MPEG-2.5: FLV's format of 8000 Hz.
        let slow = after(b"\xE2\xFF\xE3\x48\xC4\0\0").unwrap();
        assert_eq!(slow.packet[..5], *b"\xE2\xFF\xE3\x18\xC0");
        assert_eq!((slow.packet.len(), slow.begin(1)), (1 + 72, 72));
        // Enhanced RTMP, 48000 Hz.
        let enhanced = after(b"\x91.mp3\xFF\xFB\x94\x64\0\0").unwrap();
        assert_eq!(enhanced.packet[..9], *b"\x91.mp3\xFF\xFB\x14\x40");
        assert_eq!((enhanced.packet.len(), enhanced.begin(1)), (5 + 96, 24));
    }

    #[test]
    fn pcm_and_g711_have_samples_of_silence_for_20_milliseconds() {
        let packet = |first| {
            let silence = after(first).unwrap();
            assert!((19..=20).contains(&silence.begin(1)));
            let sample = silence.packet[1];
            assert!(silence.packet[1..].iter().all(|byte| *byte == sample));
            (sample, silence.packet.len() - 1)
        };
        assert_eq!(
            packet(b"\x3F\x01\x02"),
            (0, 882 * 2 * 2),
            "44100 Hz, stereo"
        );
        assert_eq!(packet(b"\x04\x01\x02"), (0x80, 220), "11025 Hz, 8 bits");
        assert_eq!(packet(b"\x02\x01\x02"), (0, 110 * 2), "5512.5 Hz");
        assert_eq!(packet(b"\x72\x01\x02"), (0xD5, 160), "A-law");
        assert_eq!(packet(b"\x83\x01\x02"), (0xFF, 320), "µ-law, stereo");
    }

    #[test]
    fn flac_has_the_block_size_and_the_format_of_its_header() {
        // Blocks of 4608 samples, 48000 Hz, stereo, 16 bits.
        let header = b"\x90fLaCfLaC\x80\0\0\x22\x12\0\x12\0\0\0\0\0\0\0\x0B\xB8\x02\xF0";
        let stereo = after(header).unwrap();
        assert_eq!(
            stereo.packet[..],
            *b"\x91fLaC\xFF\xF8\x70\x10\0\x11\xFF\x7C\0\0\0\0\0\0\x01\x68"
        );
        assert_eq!((stereo.begin(1), stereo.begin(10)), (96, 960));
        // STREAMINFO alone: blocks of 16 to 1024 samples, 44100 Hz, mono, 24 bits.
        let header = b"\x90fLaC\0\x10\x04\0\0\0\0\0\0\0\x0A\xC4\x41\x70";
        let mono = after(header).unwrap();
        assert_eq!(mono.packet[5..12], *b"\xFF\xF9\x70\0\0\x03\xFF");
        assert_eq!((mono.packet.len(), mono.begin(1)), (5 + 8 + 4 + 2, 23));
    }

    /// The first bytes of payloads in each codec.
    const HEADERS: &[&[u8]] = &[
        b"\xAF\0",
        b"\x90mp4a",
        b"\x90Opus",
        b"\x90fLaC",
        b"\x91.mp3\xFF",
        b"\x2F\xFF",
        b"",
    ];

    proptest! {
        #[test]
        fn packet_of_any_track_is_short_and_of_its_codec(
            header in select(HEADERS),
            rest in vec(any::<u8>(), 0..40),
        ) {
            let payload = [header, &rest].concat().into();
            let message = Message { kind: MediaKind::Audio, timestamp: 0, payload };
            if let Some(silence) = Silence::after(&message) {
                prop_assert!((1..=1000).contains(&silence.begin(1)));
                prop_assert!(silence.packet.len() <= 8 << 10);
                let codec = |payload| MediaHeader::parse(MediaKind::Audio, payload).codec;
                prop_assert_eq!(codec(&silence.packet), codec(&message.payload));
            }
        }
    }

    #[test]
    fn other_tracks_have_none() {
        let others: [&[u8]; 15] = [
            // Layer II, a reserved version, and the middle of a frame of MP3; ADPCM and Speex.
            b"\x2F\xFF\xFD\x92\x64",
            b"\x2F\xFF\xEB\x92\x64",
            b"\x2F\x12\x34\x56\x78",
            b"\x2F\xFF\xFB",
            b"\x1F\x01\x02",
            b"\xB6\x01\x02",
            b"",
            b"\xAF\x01\x21",
            b"\xAF\0",
            b"\xAF\0\x12\0",
            b"\xAF\0\x0A\x10",
            b"\x90fLaCfLaC",
            b"\x90OpusOpusHead\x01\x06\0\0\x80\xBB\0\0\0\0\x01",
            // AC-3, and FLAC of 1 MHz in blocks of 16 samples.
            b"\x91ac-3\x0B\x77",
            b"\x90fLaC\0\x10\0\x10\0\0\0\0\0\0\xF4\x24\x01\x70",
        ];
        for payload in others {
            assert_eq!(after(payload), None, "{payload:x?}");
        }
    }
}
