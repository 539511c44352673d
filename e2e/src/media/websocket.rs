//! A WebSocket connection that only receives (RFC 6455).

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::socket::connect;

/// A connection after its opening handshake.
#[derive(Debug)]
pub(super) struct WebSocketReader {
    socket: TcpStream,
    input: BytesMut,
}

impl WebSocketReader {
    /// Connects and requests a path.
    pub(super) async fn open(authority: &str, path: &str) -> Result<Self> {
        let socket = connect(authority).await?;
        let input = BytesMut::new();
        let mut this = Self { socket, input };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        this.socket.write_all(request.as_bytes()).await?;
        let end = loop {
            let found = this.input.windows(4).position(|end| end == b"\r\n\r\n");
            match found {
                Some(found) => break found + 4,
                None => ensure!(this.read().await?, "no response"),
            }
        };
        let header = this.input.split_to(end);
        let header = String::from_utf8_lossy(&header);
        match header.split(' ').nth(1) {
            Some("101") => Ok(this),
            status => bail!("HTTP {}", status.unwrap_or_default()),
        }
    }

    /// Returns the content of the next binary frame, or `None` after a normal close.
    pub(super) async fn message(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some((opcode, mut payload)) = self.frame()? {
                match opcode {
                    BINARY | CONTINUATION => return Ok(Some(payload)),
                    CLOSE if payload.len() >= 2 && payload.get_u16() == NORMAL => return Ok(None),
                    CLOSE => bail!("closed, and not normally"),
                    _ => {}
                }
            } else if !self.read().await? {
                bail!("the connection ended without a close");
            }
        }
    }

    /// Takes a whole frame off the input (section 5.2). The server masks none.
    fn frame(&mut self) -> Result<Option<(u8, BytesMut)>> {
        let mut header = &self.input[..];
        if header.len() < 2 {
            return Ok(None);
        }
        let (opcode, length) = (header.get_u8() & 0x0F, header.get_u8());
        let (size, length) = match length {
            126 if header.len() >= 2 => (4, u64::from(header.get_u16())),
            127 if header.len() >= 8 => (10, header.get_u64()),
            126 | 127 => return Ok(None),
            length => (2, u64::from(length)),
        };
        let length = usize::try_from(length).context("a frame that fits into memory")?;
        if self.input.len() < size + length {
            return Ok(None);
        }
        self.input.advance(size);
        Ok(Some((opcode, self.input.split_to(length))))
    }

    /// Returns false at the end of the connection.
    async fn read(&mut self) -> Result<bool> {
        Ok(self
            .socket
            .read_buf(&mut self.input)
            .await
            .context("read")?
            > 0)
    }
}

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// The close code of a normal end, section 7.4.1.
const NORMAL: u16 = 1000;
