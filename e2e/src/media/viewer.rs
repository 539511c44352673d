//! Viewers of our own that keep a record of every packet: HTTP-FLV through hyper's client, RTMP through `media_wire`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use media_wire::flv::{FlvItem, TagReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::recording::{MAX_TAG, Recording};

/// Watches a stream in the background until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    name: String,
    seen: Arc<Mutex<Seen>>,
    changes: watch::Receiver<()>,
    task: JoinHandle<()>,
}

/// What a viewer has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every packet.
    pub recording: Recording,
    /// Why it ended: `Ok` when the server said that this is the end.
    pub end: Option<Result<(), String>>,
    /// When the first packet came.
    pub first: Option<Instant>,
    /// When the latest packet came.
    pub latest: Option<Instant>,
    /// The longest time between two packets.
    pub longest_silence: Duration,
}

/// Where a viewer writes down what it sees.
#[derive(Clone, Debug)]
pub(crate) struct Notebook {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<watch::Sender<()>>,
}

/// Who is told what a connection brings.
pub(crate) trait Notes: Sync {
    /// The node has promised the stream.
    fn accepted(&self) {}
    /// Something came.
    fn item(&self, item: FlvItem);
}

impl Notes for Notebook {
    fn item(&self, item: FlvItem) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(latest) = seen.latest {
            seen.longest_silence = seen.longest_silence.max(now - latest);
        }
        seen.first.get_or_insert(now);
        seen.latest = Some(now);
        seen.recording.item(item);
        drop(seen);
        self.changed.send_replace(());
    }
}

impl Notebook {
    fn end(&self, end: Result<()>) {
        let end = end.map_err(|error| format!("{error:#}"));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).end = Some(end);
        self.changed.send_replace(());
    }
}

impl Viewer {
    /// Watches by HTTP-FLV, and reads nothing for a while after the first so many bytes.
    pub fn that_stops_reading(url: &str, after: usize, pause: Duration) -> Self {
        let asked = url.to_owned();
        Self::start(url, move |notebook| async move {
            watch_http(&asked, Some((after, pause)), &notebook).await
        })
    }

    /// Watches by HTTP-FLV: `http://127.0.0.1:8080/live/livestream.flv`.
    pub fn http(url: &str) -> Self {
        let asked = url.to_owned();
        Self::start(url, async move |notebook| {
            watch_http(&asked, None, &notebook).await
        })
    }

    pub(crate) fn start<F>(name: &str, watch: impl FnOnce(Notebook) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (changed, changes) = watch::channel(());
        let notebook = Notebook {
            seen: Arc::clone(&seen),
            changed: Arc::new(changed),
        };
        let watching = watch(notebook.clone());
        let task = tokio::spawn(async move { notebook.end(watching.await) });
        Self {
            name: name.to_owned(),
            seen,
            changes,
            task,
        }
    }

    /// The address that it watches.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks at what came so far.
    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of what came so far.
    pub fn recording(&self) -> Recording {
        self.look(|seen| seen.recording.clone())
    }

    /// Waits until what came satisfies `wanted`.
    pub async fn until(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            self.changes.mark_unchanged();
            let (reached, state, ended) =
                self.look(|seen| (wanted(seen), seen.state(), seen.end.is_some()));
            let name = &self.name;
            if reached {
                return Ok(());
            }
            if ended {
                bail!("{name} ended before {what}: {state}");
            }
            if tokio::time::timeout_at(deadline, self.changes.changed())
                .await
                .is_err()
            {
                bail!("{name} has not seen {what} in {within:?}: {state}");
            }
        }
    }

    /// Waits until the stream has ended for this viewer, and says how.
    pub async fn end(&mut self, within: Duration) -> Result<()> {
        self.until("its end", within, |seen| seen.end.is_some())
            .await?;
        let end = self.look(|seen| seen.end.clone());
        end.context("an end")?
            .map_err(|why| anyhow!("{} ended badly: {why}", self.name))
    }

    /// Fails when the stream has ended for this viewer.
    pub fn is_connected(&self) -> Result<()> {
        match self.look(|seen| seen.end.clone()) {
            None => Ok(()),
            Some(end) => bail!("{} was disconnected: {end:?}", self.name),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn state(&self) -> String {
        let packets = &self.recording.packets;
        let silent = self.latest.map(|latest| latest.elapsed());
        format!(
            "{} packets, the last {:?}, silent for {silent:?}, end {:?}",
            packets.len(),
            packets.last(),
            self.end
        )
    }
}

/// No server lets a viewer wait for a stream this long.
const CONNECT: Duration = Duration::from_secs(60);

/// Watches by HTTP-FLV to the end, which is an error unless it is a good one. Reads nothing for a while after the first so many
/// bytes, where there is such a `pause`.
pub(crate) async fn watch_http(
    url: &str,
    mut pause: Option<(usize, Duration)>,
    notes: &impl Notes,
) -> Result<()> {
    let url: http::Uri = url.parse().context("parse the address")?;
    let authority = url.authority().context("a host")?.as_str().to_owned();
    let path = url
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let response = tokio::time::timeout(CONNECT, async {
        let socket = TcpStream::connect(&authority).await.context("connect")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", authority)
            .body(Empty::new())?;
        Ok::<_, anyhow::Error>(sender.send_request(request).await?)
    });
    let response = response.await.context("no answer")??;
    if response.status() != http::StatusCode::OK {
        bail!("HTTP {}", response.status());
    }
    notes.accepted();
    let mut body = response.into_body();
    let mut reader = TagReader::new(MAX_TAG);
    let mut input = BytesMut::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("read")?.into_data() {
            input.extend_from_slice(&data);
            read += data.len();
            if let Some((_, pause)) = pause.take_if(|(after, _)| read > *after) {
                tokio::time::sleep(pause).await;
            }
            while let Some(item) = reader.receive(&mut input).context("not FLV")? {
                notes.item(item);
            }
        }
    }
    if !input.is_empty() {
        bail!("ended within a tag: {} bytes are left", input.len());
    }
    Ok(())
}
