//! What tests plant into media nodes so that they do not give up everything.

use std::any::Any;
use std::io;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::SimulatedCluster;
use crate::explorer::socket::{ClientSocket, RTMP, Route, wide};

/// A client whose connection is open until this is dropped.
pub(in super::super) struct IdleClient(
    #[expect(dead_code, reason = "holds the connection")] JoinHandle<io::Result<ClientSocket>>,
);

impl SimulatedCluster {
    /// Connects a client that never sends anything.
    pub(in super::super) fn connect(&self) -> IdleClient {
        let route = Route {
            network: self.network.clone(),
            to: self.addresses.port(0, RTMP),
            room: wide(1),
        };
        let connect = async move { route.connect().await };
        let start = async { IdleClient(tokio::spawn(connect)) };
        self.clients.block_on(start)
    }

    /// Starts a task on the host of a media node.
    pub(in super::super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &self.nodes[0].process {
            process.runtime.block_on(async { drop(tokio::spawn(task)) });
        }
    }

    /// Keeps a media node in memory until the result is dropped.
    pub(in super::super) fn keep(&self) -> Option<Arc<dyn Any>> {
        self.nodes[0].process.as_ref()?.probe.keep()
    }
}
