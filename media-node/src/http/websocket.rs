//! WebSocket (RFC 6455) as far as a stream needs it: the opening answer, one binary frame for each batch, and what a
//! browser sends: close, ping, and messages that are skipped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use sha1::{Digest, Sha1};

use crate::delivery::viewer::{Dialect, Heard, Prefix};

/// Section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Section 5.5: control frames are short.
const MAX_CONTROL: u64 = 125;

/// A player has nothing to say; what it says anyway is skipped up to this size.
const MAX_MESSAGE: u64 = 64 * 1024;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// Section 7.4.1: why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// The stream is over.
    Normal = 1000,
    /// The node is leaving, or the viewer was let go: it may come back elsewhere.
    GoingAway = 1001,
    /// The peer broke the rules.
    ProtocolError = 1002,
}

/// The answer to a `Sec-WebSocket-Key`; `None` if it is not one.
pub(crate) fn accept(key: &str) -> Option<String> {
    if STANDARD.decode(key).ok()?.len() != 16 {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    Some(STANDARD.encode(digest))
}

/// The node's side of a WebSocket.
#[derive(Default)]
pub(crate) struct WebSocket {
    skip: u64,
    replies: BytesMut,
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebSocketError {
    /// Section 5.1: a client masks all that it sends.
    #[error("a frame is not masked")]
    NotMasked,
    /// Section 5.5: control frames are at most 125 bytes and in one piece.
    #[error("a control frame is too long or in pieces")]
    BadControl,
    /// Section 5.2: reserved bits and operations.
    #[error("a frame has reserved bits or an unknown operation")]
    Reserved,
    /// More than [`MAX_MESSAGE`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(u64),
}

impl WebSocket {
    /// The frame that ends the connection.
    pub(crate) fn close(code: CloseCode) -> [u8; 4] {
        let [high, low] = (code as u16).to_be_bytes();
        [CLOSE, 2, high, low]
    }

    fn frame(&mut self, input: &mut BytesMut) -> Result<Option<Heard>, WebSocketError> {
        let Some((head, length, mask)) = frame_head(input)? else {
            return Ok(None);
        };
        match input[0] & 0x0F {
            0..=2 => {
                input.advance(head);
                self.skip = length;
                Ok(Some(Heard::Nothing))
            }
            0x8..=0xA => {
                // At most 125 bytes, as checked with the head.
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if input.len() < head + length {
                    return Ok(None);
                }
                let operation = input[0] & 0x0F;
                input.advance(head);
                let mut payload = input.split_to(length);
                let masked = payload.iter_mut().zip(mask.iter().cycle());
                masked.for_each(|(byte, mask)| *byte ^= mask);
                Ok(Some(self.control(operation, &payload)))
            }
            _ => Err(WebSocketError::Reserved),
        }
    }

    fn control(&mut self, operation: u8, payload: &[u8]) -> Heard {
        match operation {
            0x8 => return Heard::Leave,
            // One answer to several pings is enough, section 5.5.3.
            0x9 => {
                self.replies.clear();
                let length = u8::try_from(payload.len()).unwrap_or(0);
                self.replies.extend_from_slice(&[PONG, length]);
                self.replies.extend_from_slice(payload);
            }
            _ => {}
        }
        Heard::Nothing
    }
}

/// Section 5.2: length of the head, length of the payload, mask.
fn frame_head(input: &[u8]) -> Result<Option<(usize, u64, [u8; 4])>, WebSocketError> {
    let &[first, second, ..] = input else {
        return Ok(None);
    };
    let (is_final, is_control) = (first & 0x80 != 0, first & 0x08 != 0);
    if first & 0x70 != 0 || first & 0x07 > 2 {
        return Err(WebSocketError::Reserved);
    }
    if second & 0x80 == 0 {
        return Err(WebSocketError::NotMasked);
    }
    let extended: usize = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(bytes) = input.get(2..2 + extended + 4) else {
        return Ok(None);
    };
    let (length_bytes, mask) = bytes.split_at(extended);
    let length = match extended {
        0 => u64::from(second & 0x7F),
        _ => length_bytes
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    if is_control && (length > MAX_CONTROL || !is_final) {
        return Err(WebSocketError::BadControl);
    }
    if length > MAX_MESSAGE {
        return Err(WebSocketError::TooLong(length));
    }
    let mask = mask.try_into().unwrap_or_default();
    Ok(Some((2 + extended + 4, length, mask)))
}

impl Dialect for WebSocket {
    type Error = WebSocketError;

    fn prefix(&mut self, length: usize) -> Prefix {
        let mut prefix = Prefix::default();
        prefix.push(&[BINARY]);
        let length = length as u64;
        match length {
            0..=125 => prefix.push(&length.to_be_bytes()[7..]),
            126..=0xFFFF => {
                prefix.push(&[126]);
                prefix.push(&length.to_be_bytes()[6..]);
            }
            _ => {
                prefix.push(&[127]);
                prefix.push(&length.to_be_bytes());
            }
        }
        prefix
    }

    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Heard>, WebSocketError> {
        if self.skip > 0 {
            let skipped = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(input.len());
            input.advance(skipped);
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(None);
            }
        }
        self.frame(input)
    }

    fn reply(&mut self) -> Option<Bytes> {
        (!self.replies.is_empty()).then(|| std::mem::take(&mut self.replies).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        frame.extend(mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ==").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(accept("short"), None);
    }

    #[test]
    fn a_ping_is_answered_however_it_is_split() {
        let frame = masked(0x89, b"hello");
        for split in 0..frame.len() {
            let mut socket = WebSocket::default();
            let mut input = BytesMut::from(&frame[..split]);
            while socket.receive(&mut input).unwrap().is_some() {}
            input.extend_from_slice(&frame[split..]);
            while socket.receive(&mut input).unwrap().is_some() {}
            assert_eq!(socket.reply().as_deref(), Some(&b"\x8A\x05hello"[..]));
        }
    }

    #[test]
    fn messages_are_skipped_and_close_is_heard() {
        let mut input = BytesMut::from(&masked(0x82, &[7; 100])[..]);
        input.extend_from_slice(&masked(0x88, &[3, 0xE8]));
        let mut socket = WebSocket::default();
        assert_eq!(socket.receive(&mut input), Ok(Some(Heard::Nothing)));
        assert_eq!(socket.receive(&mut input), Ok(Some(Heard::Leave)));
        assert!(input.is_empty());
    }

    #[test]
    fn broken_frames_are_refused() {
        let refused = |bytes: &[u8]| {
            WebSocket::default()
                .receive(&mut BytesMut::from(bytes))
                .unwrap_err()
        };
        assert_eq!(refused(&[0x82, 0x05]), WebSocketError::NotMasked);
        assert_eq!(
            refused(&[0x09, 0x80, 0, 0, 0, 0]),
            WebSocketError::BadControl
        );
        assert_eq!(
            refused(&[0x89, 0xFE, 0, 126, 0, 0, 0, 0]),
            WebSocketError::BadControl
        );
        assert_eq!(refused(&[0xC2, 0x80]), WebSocketError::Reserved);
        assert_eq!(refused(&[0x83, 0x80]), WebSocketError::Reserved);
        let huge = [0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(refused(&huge), WebSocketError::TooLong(1 << 32));
    }

    #[test]
    fn a_batch_has_a_head_with_its_length() {
        let mut socket = WebSocket::default();
        assert_eq!(&*socket.prefix(5), [0x82, 5]);
        assert_eq!(&*socket.prefix(300), [0x82, 126, 1, 44]);
        assert_eq!(
            &*socket.prefix(70_000),
            [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]
        );
    }
}
