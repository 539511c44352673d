//! An encoder that publishes a clip by RTMP, at the clip's pace or frame by frame.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use bytes::{Buf, BytesMut};
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::clip::{EndlessClip, Sizes, init_data, now};

/// An encoder that publishes until it is dropped.
#[derive(Debug)]
pub(crate) struct LoadEncoder {
    task: JoinHandle<Result<()>>,
    accepted: Receiver<()>,
}

/// When an encoder sends a frame.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// When it is due in the clip.
    Clip,
    /// When there is a permit for it.
    Permits(Arc<Semaphore>),
}

impl LoadEncoder {
    /// Connects, and returns when the server has accepted the stream.
    pub(crate) fn start(runtime: &Handle, url: &str, sizes: Sizes, pace: Pace) -> Result<Self> {
        let mut encoder = Self::begin(runtime, url, sizes, pace);
        match encoder.accepted.recv() {
            Ok(()) => Ok(encoder),
            Err(_) => Err(encoder.error(runtime)),
        }
    }

    /// Begins to connect.
    pub(crate) fn begin(runtime: &Handle, url: &str, sizes: Sizes, pace: Pace) -> Self {
        let url = url.to_owned();
        let (accept, accepted) = sync_channel(1);
        let task = runtime.spawn(async move {
            let mut connection = EncoderLink::open(&url).await.with_context(|| url.clone())?;
            let _waited_for = accept.send(());
            connection.publish(sizes, pace).await.with_context(|| url)
        });
        Self { task, accepted }
    }

    /// Returns whether its task has ended: the server has refused or disconnected it.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until it has ended, and returns why. Call it once.
    pub(crate) fn error(&mut self, runtime: &Handle) -> Error {
        match runtime.block_on(&mut self.task) {
            Ok(Err(error)) => error,
            ended => anyhow!("the encoder ended: {ended:?}"),
        }
    }

    /// Fails when the server has disconnected it.
    pub(crate) fn assert_connected(&self) -> Result<()> {
        ensure!(!self.has_ended(), "the server has disconnected the encoder");
        Ok(())
    }
}

impl Drop for LoadEncoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct EncoderLink {
    socket: TcpStream,
    protocol: ClientConnection,
    input: BytesMut,
}

impl EncoderLink {
    async fn open(url: &str) -> Result<Self> {
        let url = RtmpUrl::parse(url).context("the URL")?;
        let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
        socket.set_nodelay(true)?;
        let mut this = Self {
            socket,
            protocol: ClientConnection::publish(url, ClientSettings::default()),
            input: BytesMut::new(),
        };
        loop {
            match this.protocol.receive(&mut this.input)? {
                Some(ClientEvent::Ready) => return Ok(this),
                Some(ClientEvent::Status(status)) if status.is_error() => {
                    bail!("{}: {}", status.code, status.description)
                }
                Some(_) => {}
                None => {
                    this.flush().await?;
                    let read = this.socket.read_buf(&mut this.input).await?;
                    ensure!(read > 0, "the server closed the connection");
                }
            }
        }
    }

    async fn publish(&mut self, sizes: Sizes, pace: Pace) -> Result<()> {
        for message in init_data() {
            self.protocol.send(&message);
        }
        let mut clip = EndlessClip::new(sizes);
        let start = tokio::time::Instant::now();
        loop {
            match &pace {
                Pace::Clip => tokio::time::sleep_until(start + clip.next_due()).await,
                Pace::Permits(permits) => permits.acquire().await?.forget(),
            }
            self.protocol.send(&clip.next().message(now()));
            self.flush().await?;
            self.answer()?;
        }
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(mut output) = self.protocol.output() {
            while output.has_remaining() {
                self.socket.write_buf(&mut output).await.context("write")?;
            }
        }
        Ok(())
    }

    /// Takes what the server has sent meanwhile: acknowledgements and pings.
    fn answer(&mut self) -> Result<()> {
        match self.socket.try_read_buf(&mut self.input) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("read"),
        }
        while let Some(event) = self.protocol.receive(&mut self.input)? {
            match event {
                ClientEvent::Status(status) if status.is_error() => {
                    bail!("{}: {}", status.code, status.description)
                }
                _ => {}
            }
        }
        Ok(())
    }
}
