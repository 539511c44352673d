//! `--demo`: a built-in clip that is published in a loop over RTMP, as any encoder publishes.

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
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

/// Stream that the clip is published as.
pub(super) const STREAM: &str = "live/livestream";

/// Made by `operator/cli/demo/make-clip`: H.264 and AAC, 640x360, 25 frames a second, a keyframe each second.
const CLIP: &[u8] = include_bytes!("../../demo/clip.flv");
/// Time between two attempts to publish.
const RETRY: Duration = Duration::from_secs(2);
/// Length of the clip: 400 video frames, and exactly 750 AAC frames.
const ROUND: Duration = Duration::from_secs(16);
/// Limit of a tag's length that no tag of the clip exceeds.
const MAX_TAG: usize = 64 * 1024;

/// Why the clip is not published, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("the clip is broken")]
    Clip(#[from] FlvError),
    #[error("the origin's address makes no URL")]
    Url(#[from] InvalidUrl),
    #[error("the connection to the origin failed")]
    Socket(#[from] io::Error),
    #[error("the origin's answer is not RTMP")]
    Protocol(#[from] RtmpError),
    #[error("the origin refused the stream: {0}")]
    Refused(String),
    /// After a successful start, the usual reason is an encoder that publishes the same stream.
    #[error("the origin ended the stream: {0}")]
    Ended(String),
}

impl DemoError {
    fn after_start(self) -> Self {
        match self {
            Self::Refused(reason) => Self::Ended(reason),
            other => other,
        }
    }

    /// Returns whether another encoder may have the stream now: the demo does not take it back.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Clip(_) | Self::Url(_))
    }
}

/// Publishes the clip until an encoder publishes the same stream. `origin` returns the address of an origin that is
/// running: another one when the first one has been stopped.
pub(super) async fn keep_publishing(origin: impl Fn() -> Option<SocketAddr>) {
    loop {
        let Some(address) = origin() else {
            sleep(RETRY).await;
            continue;
        };
        let Err(error) = publish(address).await else {
            continue;
        };
        if error.is_final() && origin() == Some(address) {
            info!(stream = STREAM, reason = %error, "the demo clip has ended");
            return;
        }
        warn!(
            error = &error as &dyn std::error::Error,
            "the demo clip is not published"
        );
        sleep(RETRY).await;
    }
}

/// Publishes the clip to an origin in real time. It only returns an error.
async fn publish(origin: SocketAddr) -> Result<(), DemoError> {
    let clip = clip()?;
    let mut publisher = DemoPublisher::dial(origin).await?;
    let start = Instant::now();
    for (due, message) in rounds(&clip) {
        publisher.wait_until(start + due).await?;
        publisher.connection.send(&message);
        publisher.flush().await?;
    }
    Ok(())
}

/// Returns the messages of the clip in their order.
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

/// Returns the clip in an endless loop: the time at which each message is due, and the message with a timestamp that
/// continues over all rounds. Metadata and sequence headers are sent once.
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

/// RTMP connection that publishes.
struct DemoPublisher {
    socket: TcpStream,
    connection: ClientConnection,
    input: BytesMut,
}

impl DemoPublisher {
    /// Connects and waits until the origin accepts the stream.
    async fn dial(origin: SocketAddr) -> Result<Self, DemoError> {
        let url = RtmpUrl::parse(&format!("rtmp://{origin}/{STREAM}"))?;
        let socket = TcpStream::connect(origin).await?;
        socket.set_nodelay(true)?;
        let mut publisher = Self {
            socket,
            connection: ClientConnection::publish(url, ClientSettings::default()),
            input: BytesMut::new(),
        };
        while !publisher.process_input()? {
            publisher.flush().await?;
            publisher.read().await?;
        }
        publisher.flush().await?;
        Ok(publisher)
    }

    /// Waits until `due`, and answers requests of the origin meanwhile.
    async fn wait_until(&mut self, due: Instant) -> Result<(), DemoError> {
        loop {
            tokio::select! {
                () = sleep_until(due) => return Ok(()),
                read = self.socket.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(DemoError::Ended("connection closed".to_owned()));
                    }
                }
            }
            self.process_input().map_err(DemoError::after_start)?;
            self.flush().await?;
        }
    }

    /// Processes messages of the origin. Returns whether it has accepted the stream.
    fn process_input(&mut self) -> Result<bool, DemoError> {
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
    fn clip_is_h264_and_aac_and_small() {
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
    fn timestamps_continue_from_round_to_round() {
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
    fn messages_are_in_order_and_sequence_headers_are_sent_once() {
        let clip = clip().unwrap();
        let messages: Vec<(Duration, Message)> = rounds(&clip).take(clip.len() * 2).collect();
        assert!(messages.is_sorted_by_key(|(due, _)| *due));
        let descriptions = messages
            .iter()
            .filter(|(_, message)| message.kind == MediaKind::Data || message.is_sequence_header());
        assert_eq!(descriptions.count(), 3);
    }
}
