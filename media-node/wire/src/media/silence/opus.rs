//! Silence in Opus (RFC 6716, RFC 7845).

use super::Frame;

/// Returns silence for an identification header (RFC 7845, 5.1): a packet of 20 ms whose streams only say that they are silent.
pub(super) fn frame(configuration: &[u8]) -> Option<Frame> {
    let channels = *configuration.get(9)?;
    let (streams, coupled) = match (channels, *configuration.get(18)?) {
        (1, 0) => (1, 0),
        (2, 0) => (1, 1),
        (_, 1) => (*configuration.get(19)?, *configuration.get(20)?),
        _ => return None,
    };
    if streams == 0 || coupled > streams {
        return None;
    }
    let mut bytes = Vec::new();
    for stream in 0..streams {
        // CELT of the full band, 20 ms, one frame.
        let is_stereo = u8::from(stream < coupled);
        bytes.push(31 << 3 | is_stereo << 2);
        if stream + 1 < streams {
            // All streams but the last say how long they are (RFC 6716, appendix B).
            bytes.push(2);
        }
        bytes.extend([0xFF, 0xFE]);
    }
    Some(Frame {
        bytes,
        samples: 960,
        rate: 48_000,
    })
}
