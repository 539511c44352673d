//! An HTTP-FLV viewer, whose response body is chunked.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use media_wire::Message;
use media_wire::flv::{FlvItem, TagReader, Tracks};
use media_wire::relay::Mark;

use super::{RawConnection, number};

/// Larger than every message of the tests.
const MAX_TAG: usize = 4 << 20;

/// A viewer that has read the response's header section.
pub(crate) struct FlvViewer {
    pub(crate) connection: RawConnection,
    /// Content of the chunks.
    body: BytesMut,
    /// Whether the last chunk was received.
    complete: bool,
    reader: TagReader,
    /// Flags of the file header.
    pub(crate) tracks: Option<Tracks>,
}

impl FlvViewer {
    /// Requests a stream.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_over(RawConnection::connect(address).await, path).await
    }

    /// Requests a stream over a connection.
    pub(crate) async fn open_over(connection: RawConnection, path: &str) -> Self {
        Self::open_as("test", connection, path).await
    }

    /// Requests a stream over a connection as this `User-Agent`.
    pub(crate) async fn open_as(agent: &str, mut connection: RawConnection, path: &str) -> Self {
        connection
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: test\r\nUser-Agent: {agent}\r\n\r\n"
            ))
            .await;
        let response = connection.response_header().await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        Self {
            connection,
            body: BytesMut::new(),
            complete: false,
            reader: TagReader::new(MAX_TAG),
            tracks: None,
        }
    }

    /// Returns the next message, or `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match self.reader.receive(&mut self.body).unwrap() {
                Some(FlvItem::Header(tracks)) => self.tracks = Some(tracks),
                Some(FlvItem::Tag(message)) => {
                    assert!(
                        !Mark::is_named(&message.payload),
                        "a viewer received a mark"
                    );
                    return Some(message);
                }
                None if self.take_chunk() => {}
                None if !self.connection.read().await => {
                    assert!(self.body.is_empty(), "a tag is truncated");
                    assert!(self.complete, "the last chunk is missing");
                    return None;
                }
                None => {}
            }
        }
    }

    /// Takes one complete chunk from the input.
    fn take_chunk(&mut self) -> bool {
        let input = &mut self.connection.input;
        let Some(header) = input.windows(2).position(|end| end == b"\r\n") else {
            return false;
        };
        let digits = std::str::from_utf8(&input[..header]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let end = header + 2 + length;
        if input.len() < end + 2 {
            return false;
        }
        assert!(!self.complete, "a chunk after the last one");
        self.complete = length == 0;
        input.advance(header + 2);
        self.body.extend_from_slice(&input.split_to(length));
        assert_eq!(&input.split_to(2)[..], b"\r\n");
        true
    }

    /// Returns the number and timestamp of the next video or audio frame.
    pub(crate) async fn numbered(&mut self) -> Option<(u32, u32)> {
        loop {
            let message = self.next().await?;
            if let Some(number) = number(&message) {
                return Some((number, message.timestamp));
            }
        }
    }
}
