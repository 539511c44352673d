//! AV1's open bitstream units.

pub(super) const OBU_SEQUENCE_HEADER: u8 = 1;
pub(super) const OBU_FRAME_HEADER: u8 = 3;
pub(super) const OBU_FRAME: u8 = 6;

/// The maximum number of units of a frame that are read. Few precede the first frame header.
const MAX_UNITS: usize = 16;

/// `obu_has_size_field`, a bit of a unit's first byte (5.3.2). It must be set for units in a configuration.
pub(super) const HAS_SIZE: u8 = 0x02;

/// An open bitstream unit (AV1, 5.3).
pub(super) struct Obu<'a> {
    pub(super) obu_type: u8,
    pub(super) content: &'a [u8],
    /// All of it, with its header.
    pub(super) bytes: &'a [u8],
}

/// Returns the first units of a frame, up to one that is truncated.
pub(super) fn obus(mut body: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let units = std::iter::from_fn(move || {
        let (obu_type, content, rest) = split_obu(body)?;
        let (bytes, _) = body.split_at_checked(body.len() - rest.len())?;
        body = rest;
        Some(Obu {
            obu_type,
            content,
            bytes,
        })
    });
    units.take(MAX_UNITS)
}

/// Returns the type and the content of the first unit, and what follows it.
fn split_obu(body: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, mut rest) = body.split_first()?;
    if header & 0x04 != 0 {
        (_, rest) = rest.split_first()?;
    }
    let obu_type = header >> 3 & 0x0F;
    if header & HAS_SIZE == 0 {
        // Without a size it is the last one.
        return Some((obu_type, rest, &[]));
    }
    let mut size = 0;
    // The size is coded as leb128 (4.10.5), seven bits in each byte. One that needs a fifth byte is longer than a message.
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        rest = after;
        size |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let (obu, rest) = rest.split_at_checked(size)?;
            return Some((obu_type, obu, rest));
        }
    }
    None
}
