//! A foreign RTMP server as upstream: one connection that plays a stream from it, or publishes one to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use media_wire::rtmp::{
    ClientConnection, ClientEvent, ClientSettings, InvalidUrl, RtmpError, RtmpUrl,
};
use media_wire::{Message, StreamKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::host::net::{self, TcpStream};

/// Time to connect, for the handshake, and for the server to accept the stream.
const READY: Duration = Duration::from_secs(5);
/// Time for which the server may accept no byte.
const STALL: Duration = Duration::from_secs(10);
/// Bytes of one read.
const READ: usize = 16 << 10;

/// The address of a server: `rtmp://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtmpServer {
    address: String,
}

/// Why there is no stream of a server, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RtmpServerError {
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    #[error("the server's answer is not RTMP: {0}")]
    Protocol(#[from] RtmpError),
    #[error("the server refused the stream: {0}")]
    Refused(String),
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    #[error("the server closed the connection")]
    Closed,
}

/// What to do with a stream at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Play,
    Publish,
}

impl RtmpServer {
    /// Returns the server of a configured address, which the configuration has checked.
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.trim_end_matches('/').to_owned(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the URL of a stream on the server. Its names are not parsed: they may have characters that would end a part of a URL.
    fn url(&self, key: &StreamKey) -> Result<RtmpUrl, InvalidUrl> {
        let mut url = RtmpUrl::parse(&format!("{}/app/stream", self.address))?;
        url.tc_url = format!("{}/{}", self.address, key.app());
        key.app().clone_into(&mut url.app);
        url.stream = match key.vhost() {
            Some(vhost) => format!("{}?vhost={vhost}", key.name()),
            None => key.name().to_owned(),
        };
        Ok(url)
    }

    /// Connects and waits until the server has accepted the stream.
    pub(super) async fn open(
        &self,
        key: &StreamKey,
        direction: Direction,
        max_message_bytes: usize,
    ) -> Result<RtmpLink, RtmpServerError> {
        let ready = async {
            let url = self.url(key)?;
            let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
            net::set_options(&socket, |socket| socket.set_tcp_nodelay(true))?;
            let peer = socket.peer_addr()?;
            let settings = ClientSettings {
                max_message_bytes,
                ..ClientSettings::default()
            };
            let connection = match direction {
                Direction::Play => ClientConnection::play(url, settings),
                Direction::Publish => ClientConnection::publish(url, settings),
            };
            let mut link = RtmpLink {
                socket,
                peer,
                connection,
                input: BytesMut::new(),
                output: BytesMut::new(),
            };
            loop {
                match link.event().await? {
                    ClientEvent::Ready => return Ok(link),
                    ClientEvent::Status(status) if status.is_error() => {
                        return Err(RtmpServerError::Refused(status.code));
                    }
                    ClientEvent::Ended => return Err(RtmpServerError::Closed),
                    ClientEvent::Status(_) | ClientEvent::Media(_) => {}
                }
            }
        };
        let expired = Err(RtmpServerError::Timeout(READY));
        timeout(READY, ready).await.unwrap_or(expired)
    }
}

/// A connection to a server that has accepted the stream.
pub(super) struct RtmpLink {
    socket: TcpStream,
    peer: SocketAddr,
    connection: ClientConnection,
    input: BytesMut,
    /// Bytes that are not sent yet.
    output: BytesMut,
}

impl RtmpLink {
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the next event. Cancel safe.
    pub(super) async fn event(&mut self) -> Result<ClientEvent, RtmpServerError> {
        loop {
            let event = self.connection.receive(&mut self.input)?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.flush().await?;
            self.input.reserve(READ);
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(RtmpServerError::Closed);
            }
        }
    }

    /// Sends a message of the stream that is published.
    pub(super) async fn send(&mut self, message: &Message) -> Result<(), RtmpServerError> {
        self.connection.send(message);
        self.flush().await
    }

    /// Announces the end of the stream.
    pub(super) async fn finish(mut self) -> Result<(), RtmpServerError> {
        self.connection.finish();
        self.flush().await?;
        Ok(self.socket.shutdown().await?)
    }

    /// Sends what waits. Cancel safe.
    async fn flush(&mut self) -> Result<(), RtmpServerError> {
        while let Some(bytes) = self.connection.output() {
            self.output.extend_from_slice(&bytes);
        }
        while self.output.has_remaining() {
            let written = timeout(STALL, self.socket.write_buf(&mut self.output)).await;
            if written.map_err(|_| RtmpServerError::Timeout(STALL))?? == 0 {
                return Err(RtmpServerError::Closed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_has_the_same_name_on_the_server() {
        let server = RtmpServer::new("rtmp://srs.example:19350/");
        let url = |vhost, app| {
            let key = StreamKey::new(vhost, app, "a").unwrap();
            let url = server.url(&key).unwrap();
            (url.host, url.port, url.tc_url, url.app, url.stream)
        };
        let (host, tc_url) = ("srs.example", "rtmp://srs.example:19350/live/sub");
        let expected = (host, 19350, tc_url, "live/sub", "a");
        let (host, port, tc_url, app, stream) = url(None, "live/sub");
        assert_eq!((&*host, port, &*tc_url, &*app, &*stream), expected);
        assert_eq!(url(Some("v.example"), "live").4, "a?vhost=v.example");
    }
}
