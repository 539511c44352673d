//! HTTP as a test writes it: every byte is seen.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// A connection, and what was read from it.
pub(crate) struct Wire {
    pub(crate) socket: TcpStream,
    pub(crate) input: BytesMut,
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name)?;
        Some(&found.1)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Wire {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self {
            socket,
            input: BytesMut::new(),
        }
    }

    /// Sends bytes; whether the node still takes them is not asked.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.socket.write_all(bytes.as_ref()).await);
    }

    /// Reads more; false at the end.
    pub(crate) async fn read(&mut self) -> bool {
        let read = soon("more bytes", self.socket.read_buf(&mut self.input)).await;
        read.is_ok_and(|read| read > 0)
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> BytesMut {
        while self.read().await {}
        self.input.split()
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> Answer {
        let length = loop {
            if let Some(end) = self.input.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.read().await, "no answer, only {:?}", self.input);
        };
        let head = self.input.split_to(length);
        let mut lines = std::str::from_utf8(&head).unwrap().trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status,
            headers: headers.collect(),
            body: Vec::new(),
        }
    }

    /// Reads a whole answer.
    pub(crate) async fn answer(&mut self, has_body: bool) -> Answer {
        let mut answer = self.head().await;
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if has_body {
            while self.input.len() < length {
                assert!(self.read().await, "the body is cut off");
            }
            answer.body = self.input.split_to(length).to_vec();
        }
        answer
    }

    /// Takes bytes off the front when they are there.
    pub(crate) async fn take(&mut self, length: usize) -> BytesMut {
        while self.input.remaining() < length {
            assert!(self.read().await, "the connection ended");
        }
        self.input.split_to(length)
    }
}

/// Asks once.
pub(crate) async fn request(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    wire.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    ))
    .await;
    wire.answer(method != "HEAD").await
}
