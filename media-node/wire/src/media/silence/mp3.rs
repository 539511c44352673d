//! Silence in MP3 (ISO/IEC 11172-3 and 13818-3, Layer III).

use super::Frame;

const LAYER_3: u8 = 1;
const MPEG_1: u8 = 3;

/// Returns silence like a frame of the encoder's: of its version, sampling frequency and mode, with the lowest bit rate.
///
/// All of its side information is zero. So it has no main data, and needs none of the frames before it.
pub(super) fn frame(encoded: &[u8]) -> Option<Frame> {
    // 11 bits of synchronisation, version, layer; bit rate, sampling frequency; mode.
    let [sync, version, frequency, mode] = *encoded.first_chunk()?;
    if sync != 0xFF || version >> 5 != 7 || version >> 1 & 3 != LAYER_3 {
        return None;
    }
    let version = version >> 3 & 3;
    let frequency = frequency >> 2 & 3;
    let divisor = match version {
        MPEG_1 => 1,
        // MPEG-2.
        2 => 2,
        // MPEG-2.5.
        0 => 4,
        _ => return None,
    };
    let rate = *[44_100, 48_000, 32_000].get(usize::from(frequency))? / divisor;
    let (samples, bit_rate) = match version {
        MPEG_1 => (1152, 32_000),
        _ => (576, 8_000),
    };
    // No CRC; the first bit rate of the table; no padding.
    let mut bytes = vec![
        0xFF,
        7 << 5 | version << 3 | LAYER_3 << 1 | 1,
        1 << 4 | frequency << 2,
        mode & 0xC0,
    ];
    bytes.resize(usize::try_from(samples / 8 * bit_rate / rate).ok()?, 0);
    Some(Frame {
        bytes,
        samples,
        rate,
    })
}
