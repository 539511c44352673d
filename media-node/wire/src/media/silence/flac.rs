//! Silence in FLAC (RFC 9639).

use super::Frame;
use crate::fields::take;

/// The block size where the encoder's vary, in samples.
const BLOCK: u16 = 4_608;

/// Returns silence for a FLAC header, or just its STREAMINFO (8.2).
pub(super) fn frame(configuration: &[u8]) -> Option<Frame> {
    // The signature and the header of the metadata block.
    let mut info = match configuration.strip_prefix(b"fLaC") {
        Some(block) => block.get(4..)?,
        None => configuration,
    };
    let [min, max] = [take(&mut info)?, take(&mut info)?].map(u16::from_be_bytes);
    let _frame_sizes: [u8; 6] = take(&mut info)?;
    // 20 bits of the sampling frequency, 3 of the channels, 5 of the sample's size.
    let format = u32::from_be_bytes(take(&mut info)?);
    let rate = format >> 12;
    if min < 16 || min > max || rate == 0 {
        return None;
    }
    let [channels, bits] = [(format >> 9 & 7) + 1, (format >> 4 & 31) + 1];
    let block = BLOCK.clamp(min, max);
    let mut bytes = header(block, min != max, channels)?.to_vec();
    bytes.push(crc8(&bytes));
    // Each channel is a constant subframe (9.2.3), whose header is zero, and the constant as well.
    let subframes = channels * (8 + bits);
    bytes.resize(
        bytes.len() + usize::try_from(subframes.div_ceil(8)).ok()?,
        0,
    );
    bytes.extend(crc16(&bytes).to_be_bytes());
    Some(Frame {
        bytes,
        samples: block.into(),
        rate,
    })
}

/// Returns the header of a frame (9.1) of independent channels. The sampling frequency and the sample's size are those of STREAMINFO, and its
/// number is 0.
fn header(block: u16, is_variable: bool, channels: u32) -> Option<[u8; 7]> {
    let [high, low] = (block - 1).to_be_bytes();
    let channels = u8::try_from(channels - 1).ok()?;
    let sync = [0xFF, 0xF8 | u8::from(is_variable)];
    // The block size follows the number, in 16 bits.
    Some([sync[0], sync[1], 7 << 4, channels << 4, 0, high, low])
}

/// Returns the CRC of a header (9.1.8): the polynomial is x^8 + x^2 + x + 1.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| {
            (crc << 1) ^ if crc & 0x80 == 0 { 0 } else { 0x07 }
        })
    })
}

/// Returns the CRC of a frame (9.3): the polynomial is x^16 + x^15 + x^2 + 1.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 }
        })
    })
}
