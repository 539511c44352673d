//! Silence in AAC (ISO/IEC 14496-3).

use super::Frame;

/// Samples of a frame.
const SAMPLES: u32 = 1024;

/// The sampling frequencies by their index (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The object types with a core of AAC LC: itself, and with spectral band replication and parametric stereo.
const LC_CORES: [u32; 3] = [2, 5, 29];

/// Returns silence for an `AudioSpecificConfig` (1.6.2.1).
pub(super) fn frame(configuration: &[u8]) -> Option<Frame> {
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
        index => *RATES.get(usize::try_from(index).ok()?)?,
    };
    let bytes = without_values(read(4))?;
    (LC_CORES.contains(&object_type) && rate > 0).then_some(Frame {
        bytes,
        samples: SAMPLES,
        rate,
    })
}

/// An element of a frame, with its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    SingleChannel = 0,
    ChannelPair = 1,
    LowFrequency = 3,
    End = 7,
}

/// Returns a frame without any spectral value (4.4.2.1), for a channel configuration (table 1.19).
fn without_values(channel_configuration: u32) -> Option<Vec<u8>> {
    use Element::{ChannelPair as Pair, LowFrequency as Low, SingleChannel as Single};
    let elements: &[Element] = match channel_configuration {
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
    put(3, Element::End as u32);
    let byte = |bits: &[u32]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit) << (8 - bits.len());
    let bytes = bits.chunks(8).map(|bits| byte(bits).to_be_bytes()[3]);
    Some(bytes.collect())
}
