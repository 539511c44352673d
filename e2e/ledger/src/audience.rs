//! Viewers by each protocol on each edge. A viewer that is disconnected connects again immediately, to another edge: a load balancer does not
//! choose one that is not ready.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use e2e::cluster::Reach;
use e2e::media::{Seen, Viewer};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A way to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewerProtocol {
    Flv,
    Rtmp,
    WebSocket,
}

/// In the order of the table.
pub(crate) const PROTOCOLS: [ViewerProtocol; 3] = [
    ViewerProtocol::Flv,
    ViewerProtocol::Rtmp,
    ViewerProtocol::WebSocket,
];

/// An edge with clients.
#[derive(Clone, Debug)]
pub(crate) struct EdgeReach {
    pub(crate) edge: Reach,
    /// Where its clients connect when they are disconnected, one after another.
    pub(crate) next: Vec<Reach>,
}

/// The viewers of a stream. They leave when this is dropped.
pub(crate) struct Audience(Vec<Watcher>);

/// A viewer that connects again.
pub(crate) struct Watcher {
    pub(crate) protocol: ViewerProtocol,
    viewers: Arc<Mutex<Vec<Viewer>>>,
    task: JoinHandle<()>,
}

impl Audience {
    /// Starts one viewer of each protocol on each edge. Returns when all of them see the stream.
    pub(crate) async fn start(edges: &[EdgeReach], stream: &str) -> Result<Self> {
        let pairs = edges
            .iter()
            .flat_map(|edge| PROTOCOLS.map(|protocol| (edge, protocol)));
        let started = pairs.map(async |(edge, protocol)| {
            let mut viewer = Viewer::watch(&protocol.url(&edge.edge, stream)).await?;
            viewer.sees_more(10, Duration::from_secs(10)).await?;
            let next = edge.next.iter().map(|next| protocol.url(next, stream));
            anyhow::Ok(Watcher::follow(protocol, viewer, next.collect()))
        });
        Ok(Self(try_join_all(started).await?))
    }

    pub(crate) fn watchers(&self) -> &[Watcher] {
        &self.0
    }
}

impl ViewerProtocol {
    fn url(self, edge: &Reach, stream: &str) -> String {
        match self {
            Self::Flv => edge.http(stream),
            Self::Rtmp => edge.rtmp(stream),
            Self::WebSocket => edge.http(stream).replacen("http", "ws", 1),
        }
    }
}

impl Watcher {
    /// Watches on, by the `next` URLs one after another.
    fn follow(protocol: ViewerProtocol, first: Viewer, next: Vec<String>) -> Self {
        let viewers = Arc::new(Mutex::new(vec![first]));
        let followed = Arc::clone(&viewers);
        let task = tokio::spawn(async move {
            let mut next = next.iter().cycle();
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

/// How soon a viewer notices that it is disconnected.
const CONNECTION_POLL: Duration = Duration::from_millis(50);
