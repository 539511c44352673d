//! An encoder that publishes real media from a certain timestamp on. ffmpeg does not: its sequence headers have the timestamp zero, so that
//! the media node lets its stream begin there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BytesMut;
use media_wire::flv::{FlvItem, TagReader};
use media_wire::{MediaKind, Message};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::recording::MAX_TAG;
use super::rtmp::Connection;

/// Publishes a clip in a loop until it is dropped.
#[derive(Debug)]
pub struct ClipEncoder(AbortHandle);

impl ClipEncoder {
    /// Publishes an FLV file at its pace, whose timestamps begin with `first`, in milliseconds. Returns when the server has accepted the
    /// stream.
    pub async fn publish(file: &Path, url: &str, first: u32) -> Result<Self> {
        let messages = read(file)?;
        let connection = Connection::publish(url).await?;
        let task = tokio::spawn(send(connection, messages, first));
        Ok(Self(task.abort_handle()))
    }
}

impl Drop for ClipEncoder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn read(file: &Path) -> Result<Vec<Message>> {
    let mut input = BytesMut::from(&*std::fs::read(file).context("read the clip")?);
    let mut reader = TagReader::new(MAX_TAG);
    let mut messages = Vec::new();
    while let Some(item) = reader.receive(&mut input)? {
        if let FlvItem::Tag(message) = item {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// Sends a clip again and again, until the connection breaks.
async fn send(mut connection: Connection, messages: Vec<Message>, first: u32) -> Result<()> {
    let start = Instant::now();
    let last = messages.iter().map(|message| message.timestamp).max();
    let round = last.context("an empty clip")? + FRAME;
    for number in 0.. {
        let is_header = |it: &&Message| it.kind == MediaKind::Data || it.is_sequence_header();
        for message in messages.iter().filter(|it| number == 0 || !is_header(it)) {
            let at = number * round + message.timestamp;
            sleep_until(start + Duration::from_millis(at.into())).await;
            let timestamp = first.wrapping_add(at);
            let message = message.clone();
            connection
                .send(&Message {
                    timestamp,
                    ..message
                })
                .await?;
        }
    }
    Ok(())
}

/// Milliseconds from the last frame of a clip to the first one of its next round.
const FRAME: u32 = 42;
