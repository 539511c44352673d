//! The HTTP client of viewers: a chunked response, or the binary messages of a WebSocket.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::{ClientEnd, READ, START};
use super::socket::{ClientSocket, Route};

/// An HTTP client that receives a stream.
pub(super) struct HttpClient {
    socket: ClientSocket,
    input: BytesMut,
    format: BodyFormat,
    /// Bytes that are left of the current chunk or message, with the line end after a chunk.
    left: usize,
}

/// How the bytes of a stream are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    Chunked,
    WebSocket,
}

impl HttpClient {
    /// Requests a path. Fails with the status if the stream is not accepted.
    pub(super) async fn open(
        route: &Route,
        path: &str,
        format: BodyFormat,
    ) -> Result<Self, ClientEnd> {
        let (upgrade, accepted) = match format {
            BodyFormat::Chunked => ("", "200"),
            BodyFormat::WebSocket => (UPGRADE, "101"),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
        let open = async {
            let mut client = Self {
                socket: route.connect().await?,
                input: BytesMut::new(),
                format,
                left: 0,
            };
            client.socket.write_all(request.as_bytes()).await?;
            client.socket.flush().await?;
            let header = client.until(b"\r\n\r\n").await?;
            let header = String::from_utf8_lossy(&header);
            let status = header.split(' ').nth(1).unwrap_or_default();
            if status == accepted {
                Ok(client)
            } else {
                Err(ClientEnd::Status(status.to_owned()))
            }
        };
        timeout(START, open)
            .await
            .unwrap_or(Err(ClientEnd::Lost(io::ErrorKind::TimedOut)))
    }

    /// Adds the next bytes of the stream.
    pub(super) async fn body(&mut self, body: &mut BytesMut) -> Result<(), ClientEnd> {
        while self.left == 0 {
            self.left = match self.format {
                BodyFormat::Chunked => self.chunk().await?,
                BodyFormat::WebSocket => self.message().await?,
            };
        }
        if self.input.is_empty() {
            self.read().await?;
        }
        let end = match self.format {
            BodyFormat::Chunked => LINE_END,
            BodyFormat::WebSocket => b"",
        };
        let content = self.left.saturating_sub(end.len()).min(self.input.len());
        body.extend_from_slice(&self.input.split_to(content));
        self.left -= content;
        if content == 0 {
            let length = self.left.min(self.input.len());
            if !end[end.len() - self.left..].starts_with(&self.input.split_to(length)) {
                return Err(ClientEnd::Protocol("a chunk is torn".to_owned()));
            }
            self.left -= length;
        }
        Ok(())
    }

    /// Reads the length of a chunk. Returns it with that of the line end.
    async fn chunk(&mut self) -> Result<usize, ClientEnd> {
        let line = self.until(LINE_END).await?;
        let digits = String::from_utf8_lossy(&line[..line.len() - LINE_END.len()]);
        match usize::from_str_radix(&digits, 16) {
            Ok(0) => Err(ClientEnd::Ended),
            Ok(length) => Ok(length + LINE_END.len()),
            Err(error) => Err(ClientEnd::Protocol(format!("a chunk's length: {error}"))),
        }
    }

    /// Reads the header of a WebSocket's message. Returns its length.
    async fn message(&mut self) -> Result<usize, ClientEnd> {
        self.fill(2).await?;
        let (first, length) = (self.input.get_u8(), self.input.get_u8());
        let length = match length {
            126 => {
                self.fill(2).await?;
                usize::from(self.input.get_u16())
            }
            127 => {
                self.fill(8).await?;
                usize::try_from(self.input.get_u64()).unwrap_or(usize::MAX)
            }
            length => usize::from(length),
        };
        match first {
            BINARY => Ok(length),
            CLOSE => {
                self.fill(2).await?;
                match self.input.get_u16() {
                    1000 => Err(ClientEnd::Ended),
                    code => Err(ClientEnd::Status(code.to_string())),
                }
            }
            first => Err(ClientEnd::Protocol(format!(
                "a message begins with {first:#x}"
            ))),
        }
    }

    async fn until(&mut self, end: &[u8]) -> Result<BytesMut, ClientEnd> {
        loop {
            let found = self.input.windows(end.len()).position(|bytes| bytes == end);
            if let Some(found) = found {
                return Ok(self.input.split_to(found + end.len()));
            }
            self.read().await?;
        }
    }

    async fn fill(&mut self, length: usize) -> Result<(), ClientEnd> {
        while self.input.len() < length {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), ClientEnd> {
        self.input.reserve(READ);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(ClientEnd::Lost(io::ErrorKind::UnexpectedEof)),
            _ => Ok(()),
        }
    }
}

const LINE_END: &[u8] = b"\r\n";

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
