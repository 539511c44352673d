//! A viewer that keeps a recording of what it receives, by HTTP-FLV or RTMP with or without TLS, or by WebSocket, as its URL says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use media_wire::flv::{FlvItem, TagReader};
use media_wire::rtmp::ClientEvent;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::encoder::Encoder;
use super::judge;
use super::recording::{MAX_TAG, Recording};
use super::rtmp::Connection;
use super::socket::connect;
use super::tls;
use super::websocket::WebSocketReader;

/// A viewer that watches until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    url: String,
    seen: watch::Receiver<Seen>,
    task: AbortHandle,
}

/// What a viewer has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Whether the instance has accepted the viewer.
    pub accepted: bool,
    /// Every packet.
    pub recording: Recording,
    /// When and how the stream ended: an error unless the server ended it.
    pub end: Option<(Instant, Result<(), String>)>,
}

impl Seen {
    /// The longest time without a video frame, up to the stream's end or now.
    pub fn longest_stall(&self) -> Duration {
        let end = self.end.as_ref().map_or_else(Instant::now, |(at, _)| *at);
        self.recording.longest_stall(end)
    }
}

impl Viewer {
    /// Starts to watch: `http://127.0.0.1:8080/live/livestream.flv`, the same with `https:` or `ws:`, or
    /// `rtmp://127.0.0.1:1935/live/livestream`, the same with `rtmps:`.
    pub fn start(url: &str) -> Self {
        let (record, seen) = watch::channel(Seen::default());
        let watched = url.to_owned();
        let task = tokio::spawn(async move {
            let end = if watched.starts_with("rtmp") {
                watch_rtmp(&watched, &record).await
            } else if watched.starts_with("ws://") {
                watch_websocket(&watched, &record).await
            } else {
                watch_http(&watched, &record).await
            };
            let end = end.map_err(|error| format!("{error:#}"));
            record.send_modify(|seen| seen.end = Some((Instant::now(), end)));
        });
        Self {
            url: url.to_owned(),
            seen,
            task: task.abort_handle(),
        }
    }

    /// Starts to watch. Returns when the server has accepted the viewer, or its HTTP status or RTMP status code.
    pub async fn watch(url: &str) -> Result<Self> {
        let mut viewer = Self::start(url);
        let accepted = |seen: &Seen| seen.accepted;
        viewer.until("an answer", ACCEPTED, accepted).await?;
        Ok(viewer)
    }

    /// The URL that it watches.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A copy of what it has seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// A copy of what it has received so far.
    pub fn recording(&self) -> Recording {
        self.seen.borrow().recording.clone()
    }

    /// Waits until what it has seen satisfies a condition.
    pub async fn until(
        &mut self,
        expected: &str,
        limit: Duration,
        condition: impl Fn(&Seen) -> bool,
    ) -> Result<()> {
        let wait = self
            .seen
            .wait_for(|seen| condition(seen) || seen.end.is_some());
        let reached = match tokio::time::timeout(limit, wait).await {
            Ok(Ok(seen)) => condition(&seen),
            _ => false,
        };
        if reached {
            return Ok(());
        }
        let seen = self.seen();
        let packets = &seen.recording.packets;
        bail!(
            "{}: expected within {limit:?} {expected}; seen {} packets, the last {:?}, end {:?}",
            self.url,
            packets.len(),
            packets.last(),
            seen.end.map(|(_, how)| how)
        )
    }

    /// Waits until so many more video frames have arrived.
    pub async fn sees_more(&mut self, frames: usize, limit: Duration) -> Result<()> {
        let expected = self.recording().video_frames().count() + frames;
        let reached = |seen: &Seen| seen.recording.video_frames().count() >= expected;
        let more = format!("{frames} more video frames");
        self.until(&more, limit, reached).await
    }

    /// Waits until each of these viewers has received so many more video frames.
    pub async fn all_see_more<'a>(
        viewers: impl IntoIterator<Item = &'a mut Self>,
        frames: usize,
        limit: Duration,
    ) -> Result<()> {
        let more = viewers.into_iter().map(|it| it.sees_more(frames, limit));
        try_join_all(more).await.map(drop)
    }

    /// Waits for the stream's end.
    pub async fn ends(&mut self, limit: Duration) -> Result<()> {
        let ended = |seen: &Seen| seen.end.is_some();
        self.until("the end of the stream", limit, ended).await?;
        match self.seen().end {
            Some((_, Err(how))) => bail!("{}: the viewer was cut off: {how}", self.url),
            _ => Ok(()),
        }
    }

    /// Fails if the stream has ended.
    pub fn assert_connected(&self) -> Result<()> {
        match &self.seen.borrow().end {
            None => Ok(()),
            Some((_, how)) => bail!("{}: the viewer was disconnected: {how:?}", self.url),
        }
    }

    /// Fails unless it received everything of the encoder from a keyframe up to now.
    pub fn assert_uninterrupted(&self, encoder: &Encoder) -> Result<()> {
        let received = self.recording();
        judge::assert_uninterrupted(&encoder.sent(), &received).with_context(|| self.url.clone())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches by RTMP until the server ends the stream; any other end is an error.
async fn watch_rtmp(url: &str, record: &watch::Sender<Seen>) -> Result<()> {
    let mut connection = Connection::play(url).await?;
    record.send_modify(|seen| seen.accepted = true);
    loop {
        match connection.event().await? {
            ClientEvent::Media(message) => {
                record.send_modify(|seen| seen.recording.push(&message));
            }
            ClientEvent::Ended => return Ok(()),
            ClientEvent::Status(status) if status.is_error() => bail!("{status:?}"),
            ClientEvent::Status(_) | ClientEvent::Ready => {}
        }
    }
}

/// Watches by HTTP-FLV until the server ends the stream; any other end is an error.
async fn watch_http(url: &str, record: &watch::Sender<Seen>) -> Result<()> {
    let url: http::Uri = url.parse().context("parse the URL")?;
    let authority = url.authority().context("a host")?.as_str();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = async {
        let socket = connect(authority).await?;
        let mut sender = if url.scheme_str() == Some("https") {
            http_client(tls::connect(socket).await?).await?
        } else {
            http_client(socket).await?
        };
        let request = http::Request::get(path).header("host", authority);
        anyhow::Ok(sender.send_request(request.body(Empty::new())?).await?)
    };
    let response = tokio::time::timeout(ANSWERED, request).await;
    let response = response.context("no answer")??;
    if response.status() != http::StatusCode::OK {
        bail!("HTTP {}", response.status());
    }
    record.send_modify(|seen| seen.accepted = true);
    let mut body = response.into_body();
    let mut flv = FlvInput::new(record);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("read")?.into_data() {
            flv.add(&data)?;
        }
    }
    flv.finish()
}

async fn http_client(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Empty<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Watches by WebSocket until the server ends the stream; any other end is an error.
async fn watch_websocket(url: &str, record: &watch::Sender<Seen>) -> Result<()> {
    let url: http::Uri = url.parse().context("parse the URL")?;
    let authority = url.authority().context("a host")?.as_str();
    let socket = tokio::time::timeout(ANSWERED, WebSocketReader::open(authority, url.path())).await;
    let mut socket = socket.context("no answer")??;
    record.send_modify(|seen| seen.accepted = true);
    let mut flv = FlvInput::new(record);
    while let Some(message) = socket.message().await? {
        flv.add(&message)?;
    }
    flv.finish()
}

/// FLV that arrives in pieces.
struct FlvInput<'a> {
    reader: TagReader,
    input: BytesMut,
    record: &'a watch::Sender<Seen>,
}

impl<'a> FlvInput<'a> {
    fn new(record: &'a watch::Sender<Seen>) -> Self {
        Self {
            reader: TagReader::new(MAX_TAG),
            input: BytesMut::new(),
            record,
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.extend_from_slice(bytes);
        while let Some(item) = self.reader.receive(&mut self.input).context("not FLV")? {
            if let FlvItem::Tag(message) = item {
                self.record
                    .send_modify(|seen| seen.recording.push(&message));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let left = self.input.len();
        ensure!(left == 0, "ended within a tag: {left} bytes are left");
        Ok(())
    }
}

/// Longer than an instance of a cluster lets a viewer wait for a stream.
const ACCEPTED: Duration = Duration::from_secs(20);

/// Longer than the longest `playWaitSeconds` of a scenario.
const ANSWERED: Duration = Duration::from_secs(60);
