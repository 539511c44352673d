//! Silence in linear PCM and G.711 (FLV, E.4.2.1).

use super::Frame;
use crate::media::codec::Codec;

/// The sampling frequencies of FLV by their index.
const RATES: [u32; 4] = [5_512, 11_025, 22_050, 44_100];

/// The sampling frequency of G.711. FLV's index says nothing about it.
const G711_RATE: u32 = 8_000;

/// Returns 20 ms of silence in the format of the first byte of a packet.
pub(super) fn frame(first: u8, codec: Codec) -> Option<Frame> {
    let is_16_bit = first & 2 != 0;
    let pcm_rate = *RATES.get(usize::from(first >> 2 & 3))?;
    let (rate, sample): (u32, &[u8]) = match codec {
        Codec::Pcm if is_16_bit => (pcm_rate, &[0, 0]),
        // Samples of one byte have no sign.
        Codec::Pcm => (pcm_rate, &[0x80]),
        Codec::G711A => (G711_RATE, &[0xD5]),
        Codec::G711U => (G711_RATE, &[0xFF]),
        _ => return None,
    };
    let channels = 1 + u32::from(first & 1);
    let samples = rate / 50;
    Some(Frame {
        bytes: sample.repeat(usize::try_from(samples * channels).ok()?),
        samples,
        rate,
    })
}
