//! A viewer: by HTTP-FLV or by RTMP, as its URL says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use media_wire::flv::FlvItem;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::sightings::Sightings;
use crate::media::rtmp::watch_rtmp;
use crate::media::viewer::{Notes, watch_http};

/// A viewer that watches until it is dropped.
pub struct Viewer {
    url: String,
    seen: Arc<Mutex<Sightings>>,
    changed: watch::Receiver<()>,
    task: AbortHandle,
}

impl Viewer {
    /// Starts to watch. Returns as soon as the stream is promised, before the first picture.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses; the error holds its HTTP status or RTMP status code.
    pub async fn watch(url: &str) -> anyhow::Result<Self> {
        let (changes, changed) = watch::channel(());
        let seen = Arc::new(Mutex::new(Sightings::default()));
        let screen = Screen {
            seen: Arc::clone(&seen),
            changes,
        };
        let asked = url.to_owned();
        let watching = async move {
            let end = if asked.starts_with("rtmp://") {
                watch_rtmp(&asked, &screen).await
            } else {
                watch_http(&asked, None, &screen).await
            };
            screen.ended(end);
        };
        let mut viewer = Self {
            url: url.to_owned(),
            seen,
            changed,
            task: tokio::spawn(watching).abort_handle(),
        };
        viewer
            .until("an answer", OPENING, |seen| seen.accepted)
            .await?;
        Ok(viewer)
    }

    /// What it watches.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has seen so far.
    pub fn sightings(&self) -> Sightings {
        lock(&self.seen).clone()
    }

    /// Waits until what it has seen is enough.
    ///
    /// # Errors
    /// When the stream ends before that, or after `limit`.
    pub async fn until(
        &mut self,
        expected: &str,
        limit: Duration,
        enough: impl Fn(&Sightings) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            {
                let seen = lock(&self.seen);
                if enough(&seen) {
                    return Ok(());
                }
                if let Some((_, how)) = &seen.end {
                    bail!("{}: expected {expected}, but it ended: {how}", self.url);
                }
            }
            if !matches!(
                tokio::time::timeout_at(deadline, self.changed.changed()).await,
                Ok(Ok(()))
            ) {
                let seen = lock(&self.seen);
                ensure!(
                    enough(&seen),
                    "{}: expected within {} s {expected}; seen {} pictures up to number {:?}, end {:?}",
                    self.url,
                    limit.as_secs(),
                    seen.pictures().count(),
                    seen.newest(),
                    seen.end.as_ref().map(|(_, how)| how)
                );
                return Ok(());
            }
        }
    }

    /// Waits until so many more pictures have come.
    ///
    /// # Errors
    /// When they have not within `limit`.
    pub async fn sees_more(&mut self, pictures: usize, limit: Duration) -> anyhow::Result<()> {
        let wanted = lock(&self.seen).pictures().count() + pictures;
        self.until(&format!("{pictures} more pictures"), limit, |seen| {
            seen.pictures().count() >= wanted
        })
        .await
    }

    /// Waits for the stream's end; how it ended.
    ///
    /// # Errors
    /// When it goes on after `limit`.
    pub async fn ends(&mut self, limit: Duration) -> anyhow::Result<String> {
        self.until("the end of the stream", limit, |seen| seen.end.is_some())
            .await?;
        let seen = lock(&self.seen);
        Ok(seen
            .end
            .as_ref()
            .map(|(_, how)| how.clone())
            .unwrap_or_default())
    }

    /// Fails if the stream has ended.
    ///
    /// # Errors
    /// How it ended.
    pub fn is_still_there(&self) -> anyhow::Result<()> {
        match &lock(&self.seen).end {
            None => Ok(()),
            Some((_, how)) => bail!("{}: the viewer was expected to stay, but: {how}", self.url),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a viewer's messages appear.
struct Screen {
    seen: Arc<Mutex<Sightings>>,
    changes: watch::Sender<()>,
}

impl Screen {
    fn change(&self, change: impl FnOnce(&mut Sightings)) {
        change(&mut lock(&self.seen));
        self.changes.send_replace(());
    }

    fn ended(&self, how: anyhow::Result<()>) {
        let how = match how {
            Ok(()) => CLEAN.to_owned(),
            Err(error) => format!("{error:#}"),
        };
        self.change(|seen| seen.end = Some((Instant::now(), how)));
    }
}

impl Notes for Screen {
    fn accepted(&self) {
        self.change(|seen| seen.accepted = true);
    }

    fn item(&self, item: FlvItem) {
        if let FlvItem::Tag(message) = item {
            self.change(|seen| seen.push(Instant::now(), &message));
        }
    }
}

fn lock(seen: &Mutex<Sightings>) -> MutexGuard<'_, Sightings> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a stream ends that was not broken off.
pub const CLEAN: &str = "a clean end";

/// Longer than a node makes anybody wait for a stream.
const OPENING: Duration = Duration::from_secs(20);
