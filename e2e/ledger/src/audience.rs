//! Viewers by each protocol on each edge. Who is disconnected connects again at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use e2e::media::{Seen, Viewer};
use futures::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::cluster::{Cluster, NODES, ORIGINS};

/// A way to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Flv,
    Rtmp,
    WebSocket,
}

/// In the order of the table.
pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Flv, Protocol::Rtmp, Protocol::WebSocket];

/// The viewers of a stream. They leave when this is dropped.
pub(crate) struct Audience(Vec<Watcher>);

/// A viewer that connects again.
pub(crate) struct Watcher {
    pub(crate) protocol: Protocol,
    viewers: Arc<Mutex<Vec<Viewer>>>,
    task: JoinHandle<()>,
}

impl Audience {
    /// Starts one viewer of each protocol on each edge. Returns when all of them see the stream.
    pub(crate) async fn start(cluster: &Cluster, stream: &str) -> Result<Self> {
        let mut watchers = Vec::new();
        for node in ORIGINS..NODES {
            for protocol in PROTOCOLS {
                let url = match protocol {
                    Protocol::Flv => cluster.http("http", node, stream),
                    Protocol::Rtmp => cluster.rtmp(node, stream),
                    Protocol::WebSocket => cluster.http("ws", node, stream),
                };
                watchers.push((protocol, url));
            }
        }
        let started = watchers.into_iter().map(async |(protocol, url)| {
            let mut viewer = Viewer::watch(&url).await?;
            viewer.sees_more(10, Duration::from_secs(10)).await?;
            anyhow::Ok(Watcher::follow(protocol, viewer))
        });
        Ok(Self(try_join_all(started).await?))
    }

    pub(crate) fn watchers(&self) -> &[Watcher] {
        &self.0
    }
}

impl Watcher {
    fn follow(protocol: Protocol, first: Viewer) -> Self {
        let url = first.url().to_owned();
        let viewers = Arc::new(Mutex::new(vec![first]));
        let followed = Arc::clone(&viewers);
        let task = tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                let is_watching = lock(&followed)
                    .last()
                    .is_some_and(|viewer| viewer.assert_connected().is_ok());
                if !is_watching {
                    let viewer = Viewer::start(&url);
                    lock(&followed).push(viewer);
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
        lock(&self.viewers).iter().map(Viewer::seen).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(viewers: &Mutex<Vec<Viewer>>) -> MutexGuard<'_, Vec<Viewer>> {
    viewers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How soon a viewer notices that it is disconnected.
const LOOK: Duration = Duration::from_millis(50);
