//! An encoder that publishes endless frames, at the pace of a camera.

use std::iter::Cycle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::vec::IntoIter;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::frames::{self, Codecs};
use super::recording::Recording;
use super::rtmp::Connection;

/// An encoder that publishes until it is stopped or dropped.
#[derive(Debug)]
pub struct Encoder {
    stop: CancellationToken,
    state: Arc<Mutex<EncoderState>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct EncoderState {
    sent: Recording,
    interruptions: Vec<String>,
    /// It sends nothing, as a camera that hangs.
    is_frozen: bool,
    on_error: OnError,
}

/// What an encoder does when its connection breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OnError {
    /// It ends.
    #[default]
    End,
    /// It connects again, as OBS does, to the next of its URLs, and goes on with the next keyframe.
    Reconnect,
}

impl Encoder {
    /// Publishes until the connection breaks. Returns when the server has accepted the stream, or its RTMP status code.
    pub async fn publish(url: &str) -> Result<Self> {
        Self::start(url, Vec::new(), Codecs::default(), OnError::End).await
    }

    /// Publishes to the first URL, and whenever the connection breaks to the next one of the others, or to the same one if there is none.
    pub async fn publish_persistently(
        first: &str,
        next: Vec<String>,
        codecs: Codecs,
    ) -> Result<Self> {
        Self::start(first, next, codecs, OnError::Reconnect).await
    }

    async fn start(
        first: &str,
        next: Vec<String>,
        codecs: Codecs,
        on_error: OnError,
    ) -> Result<Self> {
        let connection = connect(first).await?;
        let stop = CancellationToken::new();
        let state = Arc::new(Mutex::new(EncoderState {
            on_error,
            ..EncoderState::default()
        }));
        let camera = Camera {
            url: first.to_owned(),
            next: next.into_iter().cycle(),
            codecs,
            id: ENCODERS.fetch_add(1, Ordering::Relaxed),
            number: 0,
            stop: stop.clone(),
            state: Arc::clone(&state),
        };
        Ok(Self {
            stop,
            state,
            task: tokio::spawn(camera.run(connection)),
        })
    }

    /// Everything that it has sent so far.
    pub fn sent(&self) -> Recording {
        self.state.lock().sent.clone()
    }

    /// How its connections broke.
    pub fn interruptions(&self) -> Vec<String> {
        self.state.lock().interruptions.clone()
    }

    /// Fails if a connection ever broke.
    pub fn assert_undisturbed(&self) -> Result<()> {
        let broken = self.interruptions();
        let how = broken.join("; ");
        ensure!(broken.is_empty(), "the encoder's connection broke: {how}");
        Ok(())
    }

    /// Sends nothing more, with the connection open.
    pub fn freeze(&self) {
        self.state.lock().is_frozen = true;
    }

    /// Goes on after [`Encoder::freeze`].
    pub fn thaw(&self) {
        self.state.lock().is_frozen = false;
    }

    /// Ends when its connection breaks, instead of connecting again.
    pub fn give_up(&self) {
        self.state.lock().on_error = OnError::End;
    }

    /// Ends the stream as ffmpeg does. Returns everything that was sent.
    pub async fn stop(mut self) -> Result<Recording> {
        self.stop.cancel();
        (&mut self.task).await?;
        Ok(self.sent())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Camera {
    url: String,
    next: Cycle<IntoIter<String>>,
    codecs: Codecs,
    id: u32,
    number: u64,
    stop: CancellationToken,
    state: Arc<Mutex<EncoderState>>,
}

impl Camera {
    async fn run(mut self, first: Connection) {
        let mut open = Some(first);
        let mut tick = interval(FRAME);
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(connection) = open.take() {
            let Err(error) = self.send(connection, &mut tick).await else {
                return;
            };
            let how = format!("{}, after frame {}: {error:#}", self.url, self.number);
            self.state.lock().interruptions.push(how);
            while self.connects_again() && open.is_none() {
                retry.tick().await;
                if let Some(url) = self.next.next() {
                    self.url = url;
                }
                open = connect(&self.url).await.ok();
            }
        }
    }

    fn connects_again(&self) -> bool {
        self.state.lock().on_error == OnError::Reconnect && !self.stop.is_cancelled()
    }

    /// Sends frames until it is stopped or the connection breaks.
    async fn send(&mut self, mut connection: Connection, tick: &mut Interval) -> Result<()> {
        for header in self.codecs.headers() {
            self.state.lock().sent.push(&header);
            connection.send(&header).await?;
        }
        while !frames::starts_gop(self.number) {
            self.number += 1;
        }
        let start = Instant::now();
        tick.reset_immediately();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return connection.finish().await,
                _ = tick.tick() => {}
            }
            if self.state.lock().is_frozen {
                continue;
            }
            let timestamp = u32::try_from(start.elapsed().as_millis())?;
            // No number is used again, also not over another connection when this one breaks within a frame.
            let number = self.number;
            self.number += 1;
            for message in self.codecs.frames(self.id, number, timestamp) {
                // Before it is sent: a viewer may have it before `send` returns.
                self.state.lock().sent.push(&message);
                let sent = timeout(STUCK, connection.send(&message)).await;
                sent.context("the server reads nothing")??;
            }
        }
    }
}

async fn connect(url: &str) -> Result<Connection> {
    let connection = timeout(CONNECT, Connection::publish(url)).await;
    connection.with_context(|| format!("{url}: no answer within {CONNECT:?}"))?
}

/// Each encoder's frames differ from those of all others.
static ENCODERS: AtomicU32 = AtomicU32::new(1);

const FRAME: Duration = Duration::from_millis(1000 / frames::RATE as u64);
const RETRY: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(20);
const STUCK: Duration = Duration::from_secs(10);
