//! An RTMP connection by `media_wire`'s client, with TLS or without, to publish and to play.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use futures::FutureExt;
use media_wire::Message;
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::socket::connect;
use super::tls;

/// A connection on which publishing or playing has started.
#[derive(Debug)]
pub(super) struct Connection {
    connection: ClientConnection,
    socket: Box<dyn Socket>,
    input: BytesMut,
}

/// Plain or by TLS.
trait Socket: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Socket for S {}

impl Connection {
    /// Connects and publishes.
    pub(super) async fn publish(url: &str) -> Result<Self> {
        let connect = Self::open(url, ClientConnection::publish);
        connect.await.with_context(|| format!("publish to {url}"))
    }

    /// Connects and plays.
    pub(super) async fn play(url: &str) -> Result<Self> {
        Self::open(url, ClientConnection::play).await
    }

    async fn open(
        url: &str,
        role: fn(RtmpUrl, ClientSettings) -> ClientConnection,
    ) -> Result<Self> {
        let plain = url.replacen("rtmps://", "rtmp://", 1);
        let is_encrypted = plain != url;
        let url = RtmpUrl::parse(&plain).context("parse the URL")?;
        let (host, port) = (url.host.clone(), url.port);
        let connection = role(url, ClientSettings::default());
        let start = async {
            let socket = connect((host.as_str(), port)).await?;
            socket.set_nodelay(true)?;
            let socket: Box<dyn Socket> = if is_encrypted {
                Box::new(tls::connect(socket).await?)
            } else {
                Box::new(socket)
            };
            let input = BytesMut::new();
            let mut this = Self {
                connection,
                socket,
                input,
            };
            this.started().await?;
            Ok(this)
        };
        let started = tokio::time::timeout(START, start).await;
        started.with_context(|| format!("no answer within {START:?}"))?
    }

    async fn started(&mut self) -> Result<()> {
        loop {
            match self.event().await? {
                ClientEvent::Ready => return Ok(()),
                ClientEvent::Status(status) if status.is_error() => {
                    bail!("refused: {} {:?}", status.code, status.description)
                }
                ClientEvent::Ended => bail!("the stream ended before it started"),
                ClientEvent::Status(_) | ClientEvent::Media(_) => {}
            }
        }
    }

    /// The next event that the server causes.
    pub(super) async fn event(&mut self) -> Result<ClientEvent> {
        loop {
            let event = self.connection.receive(&mut self.input)?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            let read = self.socket.read_buf(&mut self.input).await;
            if read.context("read")? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    /// Sends one message, and answers what the server has sent meanwhile.
    pub(super) async fn send(&mut self, message: &Message) -> Result<()> {
        self.connection.send(message);
        self.flush().await?;
        let read = self.socket.read_buf(&mut self.input).now_or_never();
        match read.transpose().context("read")? {
            None => return Ok(()),
            Some(0) => bail!("the server closed the connection"),
            Some(_) => {}
        }
        while let Some(event) = self.connection.receive(&mut self.input)? {
            if let ClientEvent::Status(status) = event
                && status.is_error()
            {
                let (code, why) = (status.code, status.description);
                bail!("closed by the server: {code} {why:?}");
            }
        }
        Ok(())
    }

    /// Ends the stream and the connection, as encoders do.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.connection.finish();
        self.flush().await?;
        self.socket.shutdown().await.context("close")
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(mut output) = self.connection.output() {
            while output.has_remaining() {
                self.socket.write_buf(&mut output).await.context("write")?;
            }
        }
        self.socket.flush().await.context("write")
    }
}

/// Longer than an instance takes to accept or refuse a client.
const START: Duration = Duration::from_secs(60);
