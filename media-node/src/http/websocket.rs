//! The part of WebSocket (RFC 6455) that a stream needs: the handshake's response, one binary frame for each batch, and the control
//! frames of a browser, close and ping. Messages of the browser are discarded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use sha1::{Digest, Sha1};

use super::request::WebSocketHandshake;
use crate::delivery::framing::{FrameHeader, Framing, ViewerEvent};

/// The text that the handshake appends to the client's key (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The maximum payload of a control frame, in bytes (section 5.5).
const MAX_CONTROL: u64 = 125;

/// The maximum payload of a message from a player, in bytes. Players need none. Messages up to this size are discarded.
const MAX_MESSAGE: u64 = 64 * 1024;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// Reason that a connection is closed, section 7.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// The stream ended.
    Normal = 1000,
    /// The media node drains or disconnects the viewer, which may reconnect elsewhere.
    GoingAway = 1001,
    /// The peer violated the protocol.
    ProtocolError = 1002,
}

/// Returns the `Sec-WebSocket-Accept` of a handshake, or `None` if it is invalid or not of version 13.
pub(super) fn accept(handshake: &WebSocketHandshake) -> Option<String> {
    let is_valid = handshake.version == "13" && STANDARD.decode(&handshake.key).ok()?.len() == 16;
    let digest = Sha1::new()
        .chain_update(&handshake.key)
        .chain_update(GUID)
        .finalize();
    is_valid.then(|| STANDARD.encode(digest))
}

/// The server's side of a WebSocket.
#[derive(Default)]
pub(super) struct WebSocket {
    /// Bytes that are left of a discarded message.
    discard: u64,
    replies: BytesMut,
}

/// Protocol violation of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WebSocketError {
    /// A client masks every frame, section 5.1.
    #[error("a frame is not masked")]
    NotMasked,
    /// Control frames are at most 125 bytes long and not fragmented, section 5.5.
    #[error("a control frame is too long or fragmented")]
    BadControl,
    /// Reserved bits and opcodes, section 5.2.
    #[error("a frame has reserved bits or an unknown opcode")]
    Reserved,
    /// More than [`MAX_MESSAGE`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(u64),
}

impl WebSocket {
    /// Returns the frame that closes the connection.
    pub(super) fn close(code: CloseCode) -> [u8; 4] {
        let [high, low] = (code as u16).to_be_bytes();
        [CLOSE, 2, high, low]
    }

    fn frame(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, WebSocketError> {
        let Some((header, length, mask)) = frame_header(input)? else {
            return Ok(None);
        };
        match input[0] & 0x0F {
            0..=2 => {
                input.advance(header);
                self.discard = length;
                Ok(Some(ViewerEvent::Other))
            }
            0x8..=0xA => {
                // At most 125 bytes, as checked with the header.
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if input.len() < header + length {
                    return Ok(None);
                }
                let opcode = input[0] & 0x0F;
                input.advance(header);
                let mut payload = input.split_to(length);
                let masked = payload.iter_mut().zip(mask.iter().cycle());
                masked.for_each(|(byte, mask)| *byte ^= mask);
                Ok(Some(self.control(opcode, &payload)))
            }
            _ => Err(WebSocketError::Reserved),
        }
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> ViewerEvent {
        match opcode {
            0x8 => return ViewerEvent::Stop,
            // One pong may answer several pings, section 5.5.3.
            0x9 => {
                self.replies.clear();
                let length = u8::try_from(payload.len()).unwrap_or(0);
                self.replies.extend_from_slice(&[PONG, length]);
                self.replies.extend_from_slice(payload);
            }
            _ => {}
        }
        ViewerEvent::Other
    }
}

/// Parses a frame header, section 5.2. Returns its length, the payload's length and the mask.
fn frame_header(input: &[u8]) -> Result<Option<(usize, u64, [u8; 4])>, WebSocketError> {
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

impl Framing for WebSocket {
    type Error = WebSocketError;

    fn header(&mut self, length: usize) -> FrameHeader {
        let mut header = FrameHeader::default();
        header.push(&[BINARY]);
        let length = length as u64;
        match length {
            0..=125 => header.push(&length.to_be_bytes()[7..]),
            126..=0xFFFF => {
                header.push(&[126]);
                header.push(&length.to_be_bytes()[6..]);
            }
            _ => {
                header.push(&[127]);
                header.push(&length.to_be_bytes());
            }
        }
        header
    }

    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, WebSocketError> {
        if self.discard > 0 {
            let discarded = usize::try_from(self.discard)
                .unwrap_or(usize::MAX)
                .min(input.len());
            input.advance(discarded);
            self.discard -= discarded as u64;
            if self.discard > 0 {
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
    fn key_of_the_rfc_gets_the_accept_of_the_rfc() {
        let mut handshake = WebSocketHandshake {
            key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
            version: "13".to_owned(),
            protocol: None,
        };
        assert_eq!(
            accept(&handshake).as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        handshake.key = "short".to_owned();
        assert_eq!(accept(&handshake), None);
    }

    #[test]
    fn ping_is_answered_wherever_it_is_split() {
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
    fn messages_are_discarded_and_close_stops_the_stream() {
        let mut input = BytesMut::from(&masked(0x82, &[7; 100])[..]);
        input.extend_from_slice(&masked(0x88, &[3, 0xE8]));
        let mut socket = WebSocket::default();
        assert_eq!(socket.receive(&mut input), Ok(Some(ViewerEvent::Other)));
        assert_eq!(socket.receive(&mut input), Ok(Some(ViewerEvent::Stop)));
        assert!(input.is_empty());
    }

    #[test]
    fn invalid_frames_are_refused() {
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
    fn batch_gets_a_header_with_its_length() {
        let mut socket = WebSocket::default();
        assert_eq!(&*socket.header(5), [0x82, 5]);
        assert_eq!(&*socket.header(300), [0x82, 126, 1, 44]);
        assert_eq!(
            &*socket.header(70_000),
            [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]
        );
    }
}
