//! A viewer by HTTP-FLV.

use std::net::SocketAddr;

use media_wire::Message;
use media_wire::flv::{Item, TagReader, Tracks};

use super::{Wire, number};

/// Larger than any message of the tests.
const MAX_TAG: usize = 4 << 20;

/// A viewer, its answer's head read.
pub(crate) struct FlvViewer {
    pub(crate) wire: Wire,
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
        Self {
            wire,
            reader: TagReader::new(MAX_TAG),
            tracks: None,
        }
    }

    /// The next message; `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match self.reader.receive(&mut self.wire.input).unwrap() {
                Some(Item::Header(tracks)) => self.tracks = Some(tracks),
                Some(Item::Tag(message)) => return Some(message),
                Some(Item::Mark(mark)) => panic!("a viewer got a {mark:?}"),
                None if !self.wire.read().await => {
                    assert!(self.wire.input.is_empty(), "a tag is cut off");
                    return None;
                }
                None => {}
            }
        }
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
