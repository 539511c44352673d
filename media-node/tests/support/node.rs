//! A node on free ports.

use std::net::SocketAddr;
use std::sync::Once;

use media_node::{Addresses, Node, NodeConfig, Timings};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{request, soon};

/// A node that runs until it is told to leave, or until the test is over.
pub(crate) struct TestNode {
    pub(crate) addresses: Addresses,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TestNode {
    /// A node with defaults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node whose configuration is changed.
    pub(crate) async fn with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::with_timings(change, Timings::default()).await
    }

    /// A node whose configuration and waits are changed.
    pub(crate) async fn with_timings(
        change: impl FnOnce(&mut NodeConfig),
        timings: Timings,
    ) -> Self {
        log();
        let mut config = NodeConfig {
            workers: 2,
            name: "test".to_owned(),
            ..NodeConfig::default()
        };
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen.rtmp = free;
        config.listen.http = free;
        config.listen.internal = free;
        config.stream.play_wait_seconds = 1;
        config.stream.linger_seconds = 1;
        config.drain.accept_seconds = 0;
        config.drain.timeout_seconds = 5;
        change(&mut config);
        let node = Node::bind_with(config, timings).await.unwrap();
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        Self {
            addresses: node.addresses(),
            task: tokio::spawn(node.run(drain.clone(), stop.clone())),
            drain,
            stop,
        }
    }

    /// Waits until the node is gone.
    pub(crate) async fn gone(&mut self) {
        soon("the end of the node", &mut self.task).await.unwrap();
    }

    /// What the API of the internal port answers.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let answer = request(self.addresses.internal, "GET", path).await;
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// With `RUST_LOG` set, a failing test can be read.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("RUST_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_test_writer()
                .init();
        }
    });
}
