//! Viewers by each protocol on each edge. A viewer that is disconnected connects again immediately, to another edge: a load balancer does not
//! choose one that is not ready. Further viewers join all the time, and leave when they have seen the first frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::cluster::Reach;
use e2e::media::{Codecs, Packet, Seen, Viewer};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep};

/// A way to play, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ViewerProtocol {
    Flv,
    Rtmp,
    WebSocket,
    Https,
    Rtmps,
}

const PROTOCOLS: [ViewerProtocol; 4] = [
    ViewerProtocol::Flv,
    ViewerProtocol::Rtmp,
    ViewerProtocol::WebSocket,
    ViewerProtocol::Https,
];

const ENCRYPTED: [ViewerProtocol; 2] = [ViewerProtocol::Https, ViewerProtocol::Rtmps];

/// An edge with clients.
#[derive(Clone, Debug)]
pub(crate) struct EdgeReach {
    pub(crate) edge: Reach,
    /// Where its clients connect when they are disconnected, one after another, and where others join.
    pub(crate) next: Vec<Reach>,
}

/// Which viewers a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudienceKind {
    /// One by each protocol at each edge, and more who join.
    Full,
    /// The same, only by protocols with TLS.
    Encrypted,
    /// One by HTTP-FLV at another edge than the first.
    One,
}

/// The viewers of a stream. They leave when this is dropped.
pub(crate) struct Audience {
    watchers: Vec<Watcher>,
    joins: Arc<Mutex<Vec<Join>>>,
    joining: JoinHandle<()>,
}

/// A viewer that connects again.
pub(crate) struct Watcher {
    pub(crate) protocol: ViewerProtocol,
    viewers: Arc<Mutex<Vec<Viewer>>>,
    task: JoinHandle<()>,
}

/// A viewer that joined during the event.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) protocol: ViewerProtocol,
    pub(crate) start: Instant,
    /// What it had up to its first frame, of video where there is any.
    pub(crate) seen: Option<Seen>,
}

/// The URLs of a viewer: it begins with the first one.
type Urls = Vec<String>;

impl Audience {
    /// Starts the viewers. Returns when all of them see the stream. From then on, others join.
    pub(crate) async fn start(
        edges: &[EdgeReach],
        stream: &str,
        codecs: Codecs,
        kind: AudienceKind,
    ) -> Result<Self> {
        let (edges, protocols) = match kind {
            AudienceKind::Full => (edges, &PROTOCOLS[..]),
            AudienceKind::Encrypted => (edges, &ENCRYPTED[..]),
            AudienceKind::One => (
                edges.get(1..2).context("a second edge")?,
                &[ViewerProtocol::Flv][..],
            ),
        };
        let edges = edges.iter().map(|edge| {
            let urls = |protocol: &ViewerProtocol| Some((*protocol, edge.urls(*protocol, stream)?));
            protocols.iter().filter_map(urls).collect()
        });
        let edges: Vec<Vec<(ViewerProtocol, Urls)>> = edges.collect();
        let started = edges.iter().flatten().map(async |(protocol, urls)| {
            let url = urls.first().context("a URL")?;
            let mut viewer = Viewer::watch(url).await?;
            let begins = |seen: &Seen| seen.recording.packets.len() >= 20;
            viewer
                .until("the stream", Duration::from_secs(10), begins)
                .await?;
            anyhow::Ok(Watcher::follow(*protocol, viewer, urls.clone()))
        });
        let watchers = try_join_all(started).await?;
        let joins = Arc::new(Mutex::new(Vec::new()));
        let joining = match kind {
            AudienceKind::Full | AudienceKind::Encrypted => {
                tokio::spawn(keep_joining(edges, codecs, Arc::clone(&joins)))
            }
            AudienceKind::One => tokio::spawn(async {}),
        };
        Ok(Self {
            watchers,
            joining,
            joins,
        })
    }

    pub(crate) fn watchers(&self) -> &[Watcher] {
        &self.watchers
    }

    /// Returns those who have joined so far.
    pub(crate) fn joins(&self) -> Vec<Join> {
        self.joins.lock().clone()
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.joining.abort();
    }
}

impl Join {
    /// Returns when it had its first frame.
    pub(crate) fn first_frame(&self) -> Option<Instant> {
        let last = self.seen.as_ref()?.recording.packets.last()?;
        Some(last.at)
    }
}

impl EdgeReach {
    /// Returns where a viewer watches, at first and later, if the edge has this protocol.
    fn urls(&self, protocol: ViewerProtocol, stream: &str) -> Option<Urls> {
        let places = std::iter::once(&self.edge).chain(&self.next);
        let urls = places.map(|place| match protocol {
            ViewerProtocol::Flv => Some(place.http(stream)),
            ViewerProtocol::Rtmp => Some(place.rtmp(stream)),
            ViewerProtocol::WebSocket => Some(place.http(stream).replacen("http", "ws", 1)),
            ViewerProtocol::Https => place.https(stream),
            ViewerProtocol::Rtmps => place.rtmps(stream),
        });
        urls.collect()
    }
}

impl Watcher {
    /// Watches on. When it is disconnected, by the next URL, and never by the first one again: the load balancer does not choose an edge that
    /// is gone.
    fn follow(protocol: ViewerProtocol, first: Viewer, urls: Urls) -> Self {
        let viewers = Arc::new(Mutex::new(vec![first]));
        let followed = Arc::clone(&viewers);
        let task = tokio::spawn(async move {
            let mut next = urls.iter().skip(1).cycle();
            loop {
                sleep(CONNECTION_POLL).await;
                let is_watching = followed
                    .lock()
                    .last()
                    .is_some_and(|viewer| viewer.assert_connected().is_ok());
                if !is_watching && let Some(url) = next.next() {
                    let viewer = Viewer::start(url);
                    followed.lock().push(viewer);
                }
            }
        });
        Self {
            protocol,
            viewers,
            task,
        }
    }

    /// Returns what it has seen on each of its connections.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.viewers.lock().iter().map(Viewer::seen).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets viewers of each protocol join, at one edge after another.
async fn keep_joining(
    edges: Vec<Vec<(ViewerProtocol, Urls)>>,
    codecs: Codecs,
    joins: Arc<Mutex<Vec<Join>>>,
) {
    let mut tick = interval(JOIN);
    // They end with this task.
    let mut viewers = JoinSet::new();
    for places in edges.iter().cycle() {
        tick.tick().await;
        for (protocol, urls) in places {
            let urls = urls.iter().skip(1).cloned().collect();
            viewers.spawn(join(*protocol, urls, codecs, Arc::clone(&joins)));
        }
    }
}

/// Watches by the URLs one after another, until the first frame.
async fn join(protocol: ViewerProtocol, urls: Urls, codecs: Codecs, joins: Arc<Mutex<Vec<Join>>>) {
    let is_first = match codecs {
        Codecs::Aac => |it: &Packet| !it.sequence_header,
        _ => Packet::is_video_frame,
    };
    let number = {
        let mut joins = joins.lock();
        joins.push(Join {
            protocol,
            start: Instant::now(),
            seen: None,
        });
        joins.len() - 1
    };
    for url in urls.iter().cycle() {
        let mut viewer = Viewer::start(url);
        let begins = |seen: &Seen| seen.recording.packets.iter().any(is_first);
        if viewer.until("a frame", LOST, begins).await.is_ok() {
            let mut seen = viewer.seen();
            let packets = &mut seen.recording.packets;
            let first = packets.iter().position(is_first);
            packets.truncate(first.map_or(0, |first| first + 1));
            joins.lock()[number].seen = Some(seen);
            return;
        }
        sleep(CONNECTION_POLL).await;
    }
}

/// How soon a viewer notices that it is disconnected.
const CONNECTION_POLL: Duration = Duration::from_millis(50);

/// How often viewers join.
const JOIN: Duration = Duration::from_millis(500);

/// Longer than any row.
const LOST: Duration = Duration::from_secs(300);
