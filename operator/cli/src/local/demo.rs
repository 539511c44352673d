//! `--demo`: a clip of our own, published in a loop over RTMP as any encoder would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use media_wire::flv::{FlvError, FlvItem, TagReader};
use media_wire::rtmp::{
    ClientConnection, ClientEvent, ClientSettings, InvalidUrl, RtmpError, RtmpUrl,
};
use media_wire::{MediaKind, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// What the clip is published as.
pub(super) const STREAM: &str = "live/livestream";

/// Made by `operator/demo/make-clip`: H.264 and AAC, 640x360, 25 pictures a second, a keyframe each second.
const CLIP: &[u8] = include_bytes!("../../demo/clip.flv");
/// One round of the clip: 400 pictures, and exactly 750 AAC frames.
const ROUND: Duration = Duration::from_secs(16);
/// No tag of the clip is longer.
const MAX_TAG: usize = 64 * 1024;

/// Why the clip is not published (any more).
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("the clip is broken")]
    Clip(#[from] FlvError),
    #[error("the origin's address makes no URL")]
    Url(#[from] InvalidUrl),
    #[error("the connection to the origin failed")]
    Socket(#[from] io::Error),
    #[error("the origin does not speak RTMP")]
    Protocol(#[from] RtmpError),
    #[error("the origin refused: {0}")]
    Refused(String),
    /// After a start that went well, the usual reason is somebody who publishes the same stream.
    #[error("the origin ended it: {0}")]
    Ended(String),
}

impl DemoError {
    fn after_start(self) -> Self {
        match self {
            Self::Refused(words) => Self::Ended(words),
            other => other,
        }
    }

    /// Whether the stream is somebody else's now: a demo does not fight for it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Clip(_) | Self::Url(_))
    }
}

/// Publishes the clip to an origin, round after round in real time. Only ends with an error.
pub(super) async fn publish(origin: SocketAddr) -> Result<(), DemoError> {
    let clip = clip()?;
    let mut publisher = Publisher::dial(origin).await?;
    let start = Instant::now();
    for (due, message) in rounds(&clip) {
        publisher.until(start + due).await?;
        publisher.connection.send(&message);
        publisher.flush().await?;
    }
    Ok(())
}

/// The clip's messages in their order.
fn clip() -> Result<Vec<Message>, FlvError> {
    let mut reader = TagReader::new(MAX_TAG);
    let mut bytes = BytesMut::from(CLIP);
    let mut messages = Vec::new();
    while let Some(item) = reader.receive(&mut bytes)? {
        if let FlvItem::Tag(message) = item {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// The clip for ever: when each message is due, and the message with a timestamp that goes on. What describes the
/// stream comes once.
fn rounds(clip: &[Message]) -> impl Iterator<Item = (Duration, Message)> {
    (0u32..).flat_map(move |round| {
        let begin = ROUND * round;
        let repeated = move |message: &&Message| {
            round == 0 || !(message.kind == MediaKind::Data || message.is_sequence_header())
        };
        clip.iter().filter(repeated).map(move |message| {
            let due = begin + Duration::from_millis(message.timestamp.into());
            // RTMP's 32 bits wrap after 49 days.
            let timestamp = u32::try_from(due.as_millis() % (1 << 32)).unwrap_or_default();
            let message = Message {
                timestamp,
                ..message.clone()
            };
            (due, message)
        })
    })
}

/// A connection that publishes, with its socket.
struct Publisher {
    socket: TcpStream,
    connection: ClientConnection,
    input: BytesMut,
}

impl Publisher {
    /// Connects, and publishes as soon as the origin is ready for it.
    async fn dial(origin: SocketAddr) -> Result<Self, DemoError> {
        let url = RtmpUrl::parse(&format!("rtmp://{origin}/{STREAM}"))?;
        let socket = TcpStream::connect(origin).await?;
        socket.set_nodelay(true)?;
        let mut publisher = Self {
            socket,
            connection: ClientConnection::publish(url, ClientSettings::default()),
            input: BytesMut::new(),
        };
        while !publisher.heard()? {
            publisher.flush().await?;
            publisher.read().await?;
        }
        publisher.flush().await?;
        Ok(publisher)
    }

    /// Waits, and answers what the origin asks meanwhile.
    async fn until(&mut self, due: Instant) -> Result<(), DemoError> {
        loop {
            tokio::select! {
                () = sleep_until(due) => return Ok(()),
                read = self.socket.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(DemoError::Ended("connection closed".to_owned()));
                    }
                }
            }
            self.heard().map_err(DemoError::after_start)?;
            self.flush().await?;
        }
    }

    /// Whether the origin says that publishing may start.
    fn heard(&mut self) -> Result<bool, DemoError> {
        let mut ready = false;
        while let Some(event) = self.connection.receive(&mut self.input)? {
            match event {
                ClientEvent::Ready => ready = true,
                ClientEvent::Status(status) if status.is_error() => {
                    return Err(DemoError::Refused(format!(
                        "{} {}",
                        status.code, status.description
                    )));
                }
                _ => {}
            }
        }
        Ok(ready)
    }

    async fn read(&mut self) -> Result<(), DemoError> {
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), DemoError> {
        while let Some(bytes) = self.connection.output() {
            self.socket.write_all(&bytes).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_h264_and_aac_and_small() {
        let clip = clip().unwrap();
        let codecs: Vec<String> = clip
            .iter()
            .filter(|message| message.is_sequence_header())
            .filter_map(|message| message.header().codec)
            .map(|codec| codec.to_string())
            .collect();
        assert_eq!(codecs, ["H.264", "AAC"]);
        assert!(CLIP.len() < 600_000, "{}", CLIP.len());
    }

    #[test]
    fn rounds_follow_each_other_without_a_seam() {
        let clip = clip().unwrap();
        for (kind, count, step) in [
            (MediaKind::Video, 400, 40..=40),
            (MediaKind::Audio, 750, 20..=22),
        ] {
            let times: Vec<u32> = rounds(&clip)
                .take(clip.len() * 3)
                .map(|(_, message)| message)
                .filter(|message| message.kind == kind && !message.is_sequence_header())
                .map(|message| message.timestamp)
                .collect();
            assert!(times.len() > count * 2);
            assert_eq!(times.first(), Some(&0));
            assert!(
                times
                    .windows(2)
                    .all(|pair| step.contains(&(pair[1] - pair[0]))),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn messages_are_in_the_order_of_their_time_and_described_once() {
        let clip = clip().unwrap();
        let messages: Vec<(Duration, Message)> = rounds(&clip).take(clip.len() * 2).collect();
        assert!(messages.is_sorted_by_key(|(due, _)| *due));
        let descriptions = messages
            .iter()
            .filter(|(_, message)| message.kind == MediaKind::Data || message.is_sequence_header());
        assert_eq!(descriptions.count(), 3);
    }
}
