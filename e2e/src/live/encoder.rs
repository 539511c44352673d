//! An encoder that publishes the endless film, at the pace of a camera.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::film::{self, Stamp};
use crate::media::rtmp::Publisher;

/// An encoder that publishes until it is stopped or dropped.
pub struct Encoder {
    /// The number of its film, which is on every picture.
    pub film: u32,
    stop: CancellationToken,
    sent: watch::Receiver<u64>,
    lost: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// What an encoder does when its connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// It ends.
    GiveUp,
    /// It connects again, as OBS does, and goes on with the film's next group of pictures.
    ConnectAgain,
}

impl Encoder {
    /// Publishes; a broken connection is its end. Returns when the server has accepted the stream.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses; the error holds the RTMP status code.
    pub async fn publish(url: &str) -> anyhow::Result<Self> {
        Self::start(url, Broken::GiveUp).await
    }

    /// Publishes, and connects again whenever the connection breaks.
    ///
    /// # Errors
    /// When the first connection fails.
    pub async fn publish_stubbornly(url: &str) -> anyhow::Result<Self> {
        Self::start(url, Broken::ConnectAgain).await
    }

    async fn start(url: &str, broken: Broken) -> anyhow::Result<Self> {
        let publisher = dial(url).await?;
        let (sent, numbers) = watch::channel(0);
        let stop = CancellationToken::new();
        let lost = Arc::new(Mutex::new(Vec::new()));
        let film = FILMS.fetch_add(1, Ordering::Relaxed);
        let camera = Camera {
            url: url.to_owned(),
            film,
            number: 0,
            sent,
            stop: stop.clone(),
            lost: Arc::clone(&lost),
        };
        Ok(Self {
            film,
            stop,
            sent: numbers,
            lost,
            task: tokio::spawn(camera.run(publisher, broken)),
        })
    }

    /// The number of the picture that was sent last.
    pub fn sent(&self) -> u64 {
        *self.sent.borrow()
    }

    /// The connections that broke, and how.
    pub fn lost(&self) -> Vec<String> {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Fails if a connection ever broke.
    ///
    /// # Errors
    /// How it broke.
    pub fn never_noticed(&self) -> anyhow::Result<()> {
        let lost = self.lost();
        anyhow::ensure!(
            lost.is_empty(),
            "the encoder was expected to notice nothing, but its connection broke: {}",
            lost.join("; ")
        );
        Ok(())
    }

    /// Ends the stream as FFmpeg does; the number of the last picture.
    ///
    /// # Errors
    /// When the encoder's own task is broken.
    pub async fn stop(mut self) -> anyhow::Result<u64> {
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
    film: u32,
    number: u64,
    sent: watch::Sender<u64>,
    stop: CancellationToken,
    lost: Arc<Mutex<Vec<String>>>,
}

impl Camera {
    async fn run(mut self, first: Publisher, broken: Broken) {
        let mut publisher = Some(first);
        let mut tick = interval(PICTURE);
        let mut deaf = interval(RETRY);
        deaf.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(connection) = publisher.take() {
            let Err(error) = self.film(connection, &mut tick).await else {
                return;
            };
            self.has_lost(&error);
            while broken == Broken::ConnectAgain && publisher.is_none() && !self.stop.is_cancelled()
            {
                deaf.tick().await;
                publisher = dial(&self.url).await.ok();
            }
        }
    }

    fn has_lost(&self, error: &anyhow::Error) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push(format!(
            "{}, after picture {}: {error:#}",
            self.url, self.number
        ));
    }

    /// Sends pictures until it is told to stop, or the connection breaks.
    async fn film(
        &mut self,
        mut publisher: Publisher,
        tick: &mut tokio::time::Interval,
    ) -> anyhow::Result<()> {
        for header in film::headers() {
            publisher.send(&header).await?;
        }
        while !film::begins_group(self.number) {
            self.number += 1;
        }
        let began = Instant::now();
        tick.reset_immediately();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return publisher.finish().await,
                _ = tick.tick() => {}
            }
            let stamp = Stamp {
                film: self.film,
                number: self.number,
            };
            let timestamp = u32::try_from(began.elapsed().as_millis())?;
            for message in film::picture(stamp, timestamp) {
                timeout(STUCK, publisher.send(&message))
                    .await
                    .context("the server takes nothing")??;
            }
            self.sent.send_replace(self.number);
            self.number += 1;
        }
    }
}

async fn dial(url: &str) -> anyhow::Result<Publisher> {
    timeout(OPENING, Publisher::open(url))
        .await
        .with_context(|| format!("{url}: no answer within {OPENING:?}"))?
}

/// Every encoder has a film of its own.
static FILMS: AtomicU32 = AtomicU32::new(1);

const PICTURE: Duration = Duration::from_millis(1000 / film::RATE as u64);
const RETRY: Duration = Duration::from_millis(500);
const OPENING: Duration = Duration::from_secs(20);
const STUCK: Duration = Duration::from_secs(10);
