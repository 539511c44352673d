//! HTTP, byte by byte.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within_deadline;

/// A connection and the bytes that were read from it.
pub(crate) struct RawConnection {
    pub(crate) socket: TcpStream,
    pub(crate) input: BytesMut,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name)?;
        Some(&found.1)
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl RawConnection {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// Connects with a receive buffer of so many bytes.
    pub(crate) async fn connect_with_buffer(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }

    /// Uses a connection.
    pub(crate) fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            input: BytesMut::new(),
        }
    }

    /// Sends bytes. Ignores whether the media node still accepts them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.socket.write_all(bytes.as_ref()).await);
    }

    /// Reads more bytes. Returns false at the end of the connection.
    pub(crate) async fn read(&mut self) -> bool {
        let read = within_deadline("more bytes", self.socket.read_buf(&mut self.input)).await;
        read.is_ok_and(|read| read > 0)
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> BytesMut {
        while self.read().await {}
        self.input.split()
    }

    /// Reads the header section of a response.
    pub(crate) async fn response_header(&mut self) -> Response {
        let length = loop {
            if let Some(end) = self.input.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.read().await, "no response, only {:?}", self.input);
        };
        let section = self.input.split_to(length);
        let mut lines = std::str::from_utf8(&section)
            .unwrap()
            .trim_end()
            .split("\r\n");
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
        Response {
            status,
            headers: headers.collect(),
            body: Vec::new(),
        }
    }

    /// Reads a whole response.
    pub(crate) async fn response(&mut self, has_body: bool) -> Response {
        let mut response = self.response_header().await;
        let length = response
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if has_body {
            while self.input.len() < length {
                assert!(self.read().await, "the body is truncated");
            }
            response.body = self.input.split_to(length).to_vec();
        }
        response
    }

    /// Reads this many bytes.
    pub(crate) async fn take(&mut self, length: usize) -> BytesMut {
        while self.input.remaining() < length {
            assert!(self.read().await, "the connection ended");
        }
        self.input.split_to(length)
    }
}

/// Connects from an address that the honest clients of a test do not have.
pub(crate) async fn connect_from_elsewhere(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends one request.
pub(crate) async fn request(address: SocketAddr, method: &str, path: &str) -> Response {
    let mut connection = RawConnection::connect(address).await;
    connection
        .send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        ))
        .await;
    connection.response(method != "HEAD").await
}
