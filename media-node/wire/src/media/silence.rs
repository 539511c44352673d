//! Silence in the codec of an audio track: AAC (ISO/IEC 14496-3) and Opus (RFC 6716).

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{AAC, Codec};
use super::{MediaKind, Message, PacketType};
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

impl Silence {
    /// Returns silence for the track of a sequence header. Returns `None` for any codec but AAC of one to eight channels and Opus of one or
    /// two, and for multitrack.
    pub fn after(header: &Message) -> Option<Self> {
        let is_header = header.header().packet_type == PacketType::SequenceHeader;
        if header.kind != MediaKind::Audio || !is_header {
            return None;
        }
        let mut configuration = &header.payload[..];
        match take(&mut configuration)? {
            // The sound's format and the packet type, which is that of raw data in a packet.
            [first] if first >> 4 == AAC => {
                let [_] = take(&mut configuration)?;
                aac(&[first, 1], configuration)
            }
            // Enhanced RTMP: coded frames instead of the start of a sequence.
            [0x90] => {
                let four_cc = take::<4>(&mut configuration)?;
                let header = [&[0x91], &four_cc[..]].concat();
                match Codec::of_four_cc(four_cc) {
                    Codec::Aac => aac(&header, configuration),
                    Codec::Opus => opus(&header, configuration),
                    _ => None,
                }
            }
            _ => None,
        }
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

fn with_header(header: &[u8], frame: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(header.len() + frame.len());
    packet.put_slice(header);
    packet.put_slice(frame);
    packet.freeze()
}

/// Samples of a frame of AAC.
const AAC_SAMPLES: u32 = 1024;

/// The sampling frequencies of AAC by their index (ISO/IEC 14496-3, table 1.18).
const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The object types with a core of AAC LC: itself, and with spectral band replication and parametric stereo.
const AAC_LC_CORES: [u32; 3] = [2, 5, 29];

/// Returns silence for an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
fn aac(header: &[u8], configuration: &[u8]) -> Option<Silence> {
    let mut bits = configuration
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let mut read = |count| {
        let bits = bits.by_ref().take(count);
        bits.fold(0, |value, bit| value << 1 | bit)
    };
    let object_type = read(5);
    let rate = match read(4) {
        15 => read(24),
        index => *AAC_RATES.get(usize::try_from(index).ok()?)?,
    };
    let frame = aac_frame(read(4))?;
    (AAC_LC_CORES.contains(&object_type) && rate > 0).then(|| Silence {
        packet: with_header(header, &frame),
        samples: AAC_SAMPLES,
        rate,
    })
}

/// An element of a frame of AAC, with its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AacElement {
    SingleChannel = 0,
    ChannelPair = 1,
    LowFrequency = 3,
    End = 7,
}

/// Returns a frame without any spectral value (ISO/IEC 14496-3, 4.4.2.1), for a channel configuration (table 1.19).
fn aac_frame(channel_configuration: u32) -> Option<Vec<u8>> {
    use AacElement::{ChannelPair as Pair, LowFrequency as Low, SingleChannel as Single};
    let elements: &[AacElement] = match channel_configuration {
        1 => &[Single],
        2 => &[Pair],
        3 => &[Single, Pair],
        4 => &[Single, Pair, Single],
        5 => &[Single, Pair, Pair],
        6 => &[Single, Pair, Pair, Low],
        7 => &[Single, Pair, Pair, Pair, Low],
        _ => return None,
    };
    let mut bits = Vec::new();
    let mut put = |count: u32, value: u32| {
        bits.extend((0..count).rev().map(|bit| value >> bit & 1));
    };
    for (number, element) in elements.iter().enumerate() {
        let before = elements.iter().take(number);
        let tag = before.filter(|it| *it == element).count();
        put(3, *element as u32);
        put(4, u32::try_from(tag).ok()?);
        if *element == Pair {
            // A common window: long, with no band of scale factors and no prediction; no middle and side.
            put(1, 1);
            put(11, 0);
            put(2, 0);
            // The gain of each channel; no pulses, no temporal noise shaping, no gain control.
            put(11, 0);
            put(11, 0);
        } else {
            put(8, 0);
            put(11, 0);
            put(3, 0);
        }
    }
    put(3, AacElement::End as u32);
    let byte = |bits: &[u32]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit) << (8 - bits.len());
    let bytes = bits.chunks(8).map(|bits| byte(bits).to_be_bytes()[3]);
    Some(bytes.collect())
}

/// Returns silence for an identification header (RFC 7845, 5.1): a frame of 20 ms that only says that it is silent.
fn opus(header: &[u8], configuration: &[u8]) -> Option<Silence> {
    let channels = *configuration.get(9)?;
    let is_stereo = match (channels, *configuration.get(18)?) {
        (1, 0) => 0,
        (2, 0) => 1,
        _ => return None,
    };
    Some(Silence {
        packet: with_header(header, &[31 << 3 | is_stereo << 2, 0xFF, 0xFE]),
        samples: 960,
        rate: 48_000,
    })
}

#[cfg(test)]
mod tests {
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
    fn other_tracks_have_none() {
        let others: [&[u8]; 7] = [
            b"\x2F\xFF\xFB",
            b"\xAF\x01\x21",
            b"\xAF\0",
            b"\xAF\0\x12\0",
            b"\xAF\0\x0A\x10",
            b"\x90fLaCfLaC",
            b"\x90OpusOpusHead\x01\x06\0\0\x80\xBB\0\0\0\0\x01",
        ];
        for payload in others {
            assert_eq!(after(payload), None, "{payload:x?}");
        }
    }
}
