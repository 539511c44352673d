//! A viewer: by HTTP-FLV or by RTMP, as its URL says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use media_wire::Message;
use media_wire::flv::{Item, TagReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::sightings::Sightings;

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
        let opened = async {
            if url.starts_with("rtmp://") {
                super::rtmp::watch(url, screen).await
            } else {
                let body = get(url).await?;
                Ok(tokio::spawn(read_flv(body, screen)).abort_handle())
            }
        };
        let task = tokio::time::timeout(OPENING, opened)
            .await
            .with_context(|| format!("{url}: no answer within {OPENING:?}"))?
            .with_context(|| url.to_owned())?;
        Ok(Self {
            url: url.to_owned(),
            seen,
            changed,
            task,
        })
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
pub(super) struct Screen {
    seen: Arc<Mutex<Sightings>>,
    changes: watch::Sender<()>,
}

impl Screen {
    pub(super) fn show(&self, message: &Message) {
        lock(&self.seen).push(Instant::now(), message);
        self.changes.send_replace(());
    }

    pub(super) fn ended(&self, how: String) {
        lock(&self.seen).end = Some((Instant::now(), how));
        self.changes.send_replace(());
    }
}

async fn get(url: &str) -> anyhow::Result<Incoming> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().context("a URL with a host")?.as_str();
    let socket = TcpStream::connect(authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let request = http::Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(http::header::HOST, authority)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(
        response.status().is_success(),
        "HTTP status {}",
        response.status()
    );
    Ok(response.into_body())
}

async fn read_flv(mut body: Incoming, screen: Screen) {
    let mut reader = TagReader::new(MAX_TAG);
    let mut input = BytesMut::new();
    let how = loop {
        match body.frame().await {
            None => break "a clean end".to_owned(),
            Some(Err(error)) => break format!("broken off: {error}"),
            Some(Ok(frame)) => input.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
        if let Err(error) = show_all(&mut reader, &mut input, &screen) {
            break format!("no FLV any more: {error:#}");
        }
    };
    screen.ended(how);
}

fn show_all(reader: &mut TagReader, input: &mut BytesMut, screen: &Screen) -> anyhow::Result<()> {
    while let Some(item) = reader.receive(input)? {
        if let Item::Tag(message) = item {
            screen.show(&message);
        }
    }
    Ok(())
}

fn lock(seen: &Mutex<Sightings>) -> std::sync::MutexGuard<'_, Sightings> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than a node makes anybody wait for a stream.
const OPENING: Duration = Duration::from_secs(20);

/// Larger than anything that our film has.
const MAX_TAG: usize = 1 << 20;
