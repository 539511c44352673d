//! A media node on free ports.

use std::net::SocketAddr;
use std::path::Path;

use media_node::{LiveFile, Node, NodeConfig, Timings};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{log, request, within_deadline};

/// The addresses of a media node. A port that is closed has the address 0.0.0.0:0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Addresses {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) rtmps: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Addresses {
    fn of(node: &Node) -> Self {
        let media_node::Addresses {
            rtmp,
            http,
            rtmps,
            https,
            internal,
            metrics,
        } = node.addresses();
        let closed = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            rtmp: rtmp.unwrap_or(closed),
            http: http.unwrap_or(closed),
            rtmps: rtmps.unwrap_or(closed),
            https: https.unwrap_or(closed),
            internal,
            metrics,
        }
    }
}

/// A media node that runs until it is drained or stopped, or until it is dropped.
pub(crate) struct TestNode {
    pub(crate) addresses: Addresses,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TestNode {
    /// Starts a media node with defaults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a media node with a changed configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::with_timings(Timings::default(), change).await
    }

    /// Starts a media node with other waits and a changed configuration.
    pub(crate) async fn with_timings(
        timings: Timings,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        Self::run(Self::config(change), timings).await
    }

    /// Starts a media node with a file of live settings.
    pub(crate) async fn following(
        file: &Path,
        timings: Timings,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        log::capture();
        let mut config = Self::config(change);
        let file = LiveFile::open(file, &mut config).unwrap();
        // The log of the tests is captured, and stays as it is.
        let level = media_node::start_log(&config.log).unwrap();
        let node = Node::bind_with(config, timings).await.unwrap();
        Self::serve(node.follow(file, level))
    }

    fn config(change: impl FnOnce(&mut NodeConfig)) -> NodeConfig {
        let mut config = NodeConfig {
            workers: 2,
            name: "test".to_owned(),
            ..NodeConfig::default()
        };
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen.rtmp = Some(free);
        config.listen.http = Some(free);
        config.listen.rtmps = Some(free);
        config.listen.https = Some(free);
        config.listen.internal = free;
        config.listen.metrics = Some(free);
        // Clients have one address here, and tests ask again and again.
        config.limits.max_new_connections_per_second_per_address = 0;
        // Clients of a busy host may be slow.
        config.stream.play_wait_seconds = 60;
        config.stream.publish_idle_timeout_seconds = 60;
        config.stream.linger_seconds = 1;
        config.drain.accept_seconds = 0;
        config.drain.timeout_seconds = 5;
        change(&mut config);
        config
    }

    /// Starts a media node with this configuration.
    pub(crate) async fn run(config: NodeConfig, timings: Timings) -> Self {
        log::capture();
        Self::serve(Node::bind_with(config, timings).await.unwrap())
    }

    fn serve(node: Node) -> Self {
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        Self {
            addresses: Addresses::of(&node),
            task: tokio::spawn(node.run(drain.clone(), stop.clone())),
            drain,
            stop,
        }
    }

    /// Waits until the media node has ended.
    pub(crate) async fn ended(&mut self) {
        within_deadline("the end of the media node", &mut self.task)
            .await
            .unwrap();
    }

    /// Returns a response of the API.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let response = request(self.addresses.internal, "GET", path).await;
        assert_eq!(response.status, 200, "{path}");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Returns the metrics.
    pub(crate) async fn metrics(&self) -> String {
        let response = request(self.addresses.metrics, "GET", "/metrics").await;
        response.text().to_owned()
    }

    /// Returns the value of a metric, `NAME{LABEL="VALUE"}`; 0 when there is none.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
