//! Our RTMP client on a socket.

use anyhow::{Context, bail};
use bytes::BytesMut;
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::viewer::Screen;

/// A connection that publishes or plays.
pub(super) struct Dialled {
    socket: TcpStream,
    connection: ClientConnection,
    input: BytesMut,
}

impl Dialled {
    /// Connects, and returns when the publish or play has started.
    pub(super) async fn open(
        url: &str,
        begin: fn(RtmpUrl, ClientSettings) -> ClientConnection,
    ) -> anyhow::Result<Self> {
        let parsed = RtmpUrl::parse(url)?;
        let socket = TcpStream::connect((parsed.host.as_str(), parsed.port)).await?;
        socket.set_nodelay(true)?;
        let mut dialled = Self {
            socket,
            connection: begin(parsed, ClientSettings::default()),
            input: BytesMut::new(),
        };
        loop {
            match dialled.event().await? {
                None => bail!("the server closed the connection"),
                Some(ClientEvent::Ready) => return Ok(dialled),
                Some(ClientEvent::Status(status)) if status.is_error() => {
                    bail!("{}: {}", status.code, status.description)
                }
                Some(_) => {}
            }
        }
    }

    /// The next event; `None` when the server closed the connection. Cancel-safe but for what it has to answer.
    pub(super) async fn event(&mut self) -> anyhow::Result<Option<ClientEvent>> {
        loop {
            let event = self.connection.receive(&mut self.input)?;
            self.flush().await?;
            if event.is_some() {
                return Ok(event);
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads what the server sent, without looking at it. Cancel-safe.
    pub(super) async fn read(&mut self) -> anyhow::Result<usize> {
        self.socket.read_buf(&mut self.input).await.context("read")
    }

    /// What there is among the bytes that were read.
    pub(super) fn received(&mut self) -> anyhow::Result<Option<ClientEvent>> {
        Ok(self.connection.receive(&mut self.input)?)
    }

    pub(super) fn connection(&mut self) -> &mut ClientConnection {
        &mut self.connection
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(bytes) = self.connection.output() {
            self.socket.write_all(&bytes).await.context("write")?;
        }
        Ok(())
    }
}

/// Plays a stream to a viewer's screen.
pub(super) async fn watch(url: &str, screen: Screen) -> anyhow::Result<AbortHandle> {
    let mut dialled = Dialled::open(url, ClientConnection::play).await?;
    let playing = async move {
        let how = loop {
            match dialled.event().await {
                Ok(Some(ClientEvent::Media(message))) => screen.show(&message),
                Ok(Some(ClientEvent::Ended)) => break "a clean end".to_owned(),
                Ok(Some(ClientEvent::Status(status))) if status.is_error() => break status.code,
                Ok(Some(_)) => {}
                Ok(None) => break "broken off: closed without a word".to_owned(),
                Err(error) => break format!("broken off: {error:#}"),
            }
        };
        screen.ended(how);
    };
    Ok(tokio::spawn(playing).abort_handle())
}
