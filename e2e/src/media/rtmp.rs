//! RTMP by `media_wire`'s client: a viewer that keeps a record, and a publisher that sends exactly what it is given.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use media_wire::flv::FlvItem;
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use media_wire::{MediaKind, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::viewer::{Notes, Viewer};

/// Connecting, shaking hands and being accepted take no longer.
const START: Duration = Duration::from_secs(60);

impl Viewer {
    /// Watches by RTMP: `rtmp://127.0.0.1:1935/live/livestream`.
    pub fn rtmp(url: &str) -> Self {
        let asked = url.to_owned();
        Self::start(url, |notebook| async move {
            watch_rtmp(&asked, &notebook).await
        })
    }
}

/// Watches by RTMP to the end, which is an error unless it is a good one.
pub(crate) async fn watch_rtmp(url: &str, notes: &impl Notes) -> Result<()> {
    let parsed = RtmpUrl::parse(url).context("parse the address")?;
    let (host, port) = (parsed.host.clone(), parsed.port);
    let connection = ClientConnection::play(parsed, ClientSettings::default());
    let mut link = tokio::time::timeout(START, Link::open((&host, port), connection))
        .await
        .context("no answer")??;
    notes.accepted();
    loop {
        match link.event().await? {
            ClientEvent::Media(message) => notes.item(FlvItem::Tag(message)),
            ClientEvent::Ended => return Ok(()),
            ClientEvent::Status(status) if status.is_error() => bail!("{status:?}"),
            ClientEvent::Status(_) | ClientEvent::Ready => {}
        }
    }
}

/// A connection that has been accepted.
#[derive(Debug)]
struct Link {
    connection: ClientConnection,
    socket: TcpStream,
    input: BytesMut,
}

impl Link {
    /// Connects, and waits until publishing or playing has started.
    async fn open(address: (&str, u16), connection: ClientConnection) -> Result<Self> {
        let socket = TcpStream::connect(address).await.context("connect")?;
        socket.set_nodelay(true)?;
        let mut link = Self {
            connection,
            socket,
            input: BytesMut::new(),
        };
        loop {
            match link.event().await? {
                ClientEvent::Ready => return Ok(link),
                ClientEvent::Status(status) if status.is_error() => {
                    bail!("refused: {} {:?}", status.code, status.description)
                }
                ClientEvent::Ended => bail!("ended before it began"),
                ClientEvent::Status(_) | ClientEvent::Media(_) => {}
            }
        }
    }

    /// The next thing that the server says or sends.
    async fn event(&mut self) -> Result<ClientEvent> {
        loop {
            let event = self.connection.receive(&mut self.input)?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            if self
                .socket
                .read_buf(&mut self.input)
                .await
                .context("read")?
                == 0
            {
                bail!("the server closed the connection");
            }
        }
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(mut output) = self.connection.output() {
            while output.has_remaining() {
                self.socket.write_buf(&mut output).await.context("write")?;
            }
        }
        Ok(())
    }
}

/// Publishes exactly the messages that it is given.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
}

impl Publisher {
    /// Connects and publishes.
    pub async fn open(url: &str) -> Result<Self> {
        let parsed = RtmpUrl::parse(url).context("parse the address")?;
        let (host, port) = (parsed.host.clone(), parsed.port);
        let connection = ClientConnection::publish(parsed, ClientSettings::default());
        let open = tokio::time::timeout(START, Link::open((&host, port), connection)).await;
        Ok(Self {
            link: open
                .context("no answer")?
                .with_context(|| format!("publish to {url}"))?,
        })
    }

    /// Sends one message; what the server says meanwhile is answered.
    pub async fn send(&mut self, message: &Message) -> Result<()> {
        self.link.connection.send(message);
        self.link.flush().await?;
        self.listen()
    }

    /// Reads what has come without waiting for more.
    fn listen(&mut self) -> Result<()> {
        let link = &mut self.link;
        match link.socket.try_read_buf(&mut link.input) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("read"),
        }
        while let Some(event) = link.connection.receive(&mut link.input)? {
            if let ClientEvent::Status(status) = event
                && status.is_error()
            {
                bail!(
                    "closed by the server: {} {:?}",
                    status.code,
                    status.description
                );
            }
        }
        Ok(())
    }

    /// Waits until the server ends this publication; why.
    pub async fn refused(&mut self, within: Duration) -> Result<String> {
        let wait = async {
            loop {
                match self.link.event().await {
                    Ok(ClientEvent::Status(status)) if status.is_error() => return status.code,
                    Ok(_) => {}
                    Err(error) => return format!("{error:#}"),
                }
            }
        };
        tokio::time::timeout(within, wait)
            .await
            .context("the publication goes on")
    }

    /// Sends messages in their own time.
    pub async fn play(&mut self, messages: &[Message]) -> Result<()> {
        let began = tokio::time::Instant::now();
        let first = messages.first().map_or(0, |message| message.timestamp);
        for message in messages {
            let at = Duration::from_millis(message.timestamp.wrapping_sub(first).into());
            tokio::time::sleep_until(began + at).await;
            self.send(message).await?;
        }
        Ok(())
    }

    /// Ends as encoders do: says so, and closes.
    pub async fn finish(mut self) -> Result<()> {
        self.link.connection.finish();
        self.link.flush().await?;
        self.link.socket.shutdown().await.context("close")
    }
}

/// A film of numbers: every packet is unlike any other, and as large as wished.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// Milliseconds of the first packet.
    pub from: u32,
    /// Milliseconds between two pictures.
    pub step: u32,
    /// Pictures from keyframe to keyframe.
    pub group: u32,
    /// Bytes of a keyframe.
    pub keyframe: usize,
    /// Bytes of another picture.
    pub picture: usize,
    /// Makes this film's packets unlike those of any other.
    pub mark: u32,
}

impl Numbered {
    /// 25 pictures a second of 2,000 bytes, a keyframe every second.
    pub const PLAIN: Self = Self {
        from: 0,
        step: 40,
        group: 25,
        keyframe: 8_000,
        picture: 2_000,
        mark: 0,
    };

    /// The decoders' configurations and so many pictures, each with a sound after it.
    pub fn messages(self, pictures: u32) -> Vec<Message> {
        let message = |kind, timestamp, payload: Vec<u8>| Message {
            kind,
            timestamp,
            payload: payload.into(),
        };
        let mark = self.mark.to_be_bytes();
        // An AVCDecoderConfigurationRecord and an AudioSpecificConfig; nobody decodes the pictures.
        let video = [&[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F, 0xFF, 0xE0][..], &mark].concat();
        let audio = [&[0xAF, 0, 0x12, 0x10][..], &mark].concat();
        let mut film = vec![
            message(MediaKind::Audio, self.from, audio),
            message(MediaKind::Video, self.from, video),
        ];
        for picture in 0..pictures {
            let at = self.from.wrapping_add(picture * self.step);
            let number = [mark, picture.to_be_bytes()].concat();
            let key = picture % self.group == 0;
            let (first, size) = if key {
                (0x17, self.keyframe)
            } else {
                (0x27, self.picture)
            };
            let body = number.iter().copied().cycle().take(size);
            let payload = [first, 1, 0, 0, 0].into_iter().chain(body).collect();
            film.push(message(MediaKind::Video, at, payload));
            film.push(message(
                MediaKind::Audio,
                at.wrapping_add(self.step / 2),
                [&[0xAF, 1][..], &number].concat(),
            ));
        }
        film
    }
}
