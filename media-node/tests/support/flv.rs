//! A viewer by HTTP-FLV, whose answer comes in chunks.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use media_wire::Message;
use media_wire::flv::{FlvItem, TagReader, Tracks};
use media_wire::relay::Mark;

use super::{Wire, number};

/// Larger than any message of the tests.
const MAX_TAG: usize = 4 << 20;

/// A viewer, its answer's head read.
pub(crate) struct FlvViewer {
    pub(crate) wire: Wire,
    /// What was in the chunks.
    body: BytesMut,
    /// The chunk of no bytes has come.
    complete: bool,
    reader: TagReader,
    /// The flags of the file header.
    pub(crate) tracks: Option<Tracks>,
}

impl FlvViewer {
    /// Asks for a stream and gets it.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let mut wire = Wire::connect(address).await;
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nUser-Agent: test\r\n\r\n"
        ))
        .await;
        let answer = wire.head().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        Self {
            wire,
            body: BytesMut::new(),
            complete: false,
            reader: TagReader::new(MAX_TAG),
            tracks: None,
        }
    }

    /// The next message; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match self.reader.receive(&mut self.body).unwrap() {
                Some(FlvItem::Header(tracks)) => self.tracks = Some(tracks),
                Some(FlvItem::Tag(message)) => {
                    assert!(!Mark::is_named(&message.payload), "a viewer got a mark");
                    return Some(message);
                }
                None if self.take_chunk() => {}
                None if !self.wire.read().await => {
                    assert!(self.body.is_empty(), "a tag is cut off");
                    assert!(self.complete, "the end is missing");
                    return None;
                }
                None => {}
            }
        }
    }

    /// Takes a chunk that has come whole.
    fn take_chunk(&mut self) -> bool {
        let input = &mut self.wire.input;
        let Some(head) = input.windows(2).position(|end| end == b"\r\n") else {
            return false;
        };
        let digits = std::str::from_utf8(&input[..head]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let end = head + 2 + length;
        if input.len() < end + 2 {
            return false;
        }
        assert!(!self.complete, "a chunk behind the end");
        self.complete = length == 0;
        input.advance(head + 2);
        self.body.extend_from_slice(&input.split_to(length));
        assert_eq!(&input.split_to(2)[..], b"\r\n");
        true
    }

    /// The next picture or piece of sound: its number and its timestamp.
    pub(crate) async fn numbered(&mut self) -> Option<(u32, u32)> {
        loop {
            let message = self.next().await?;
            if let Some(number) = number(&message) {
                return Some((number, message.timestamp));
            }
        }
    }
}
