//! Connections to other media nodes that wait for their next short request. A media node that asks the origins about many silent or
//! missing streams would otherwise open several connections a second for each of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use parking_lot::Mutex;

use super::client::NodeConnection;

/// Connections to one media node that are kept. More are opened while there are more requests, and closed after them.
const MAX_KEPT: usize = 32;

/// Connections that are open and unused, by media node.
#[derive(Default)]
pub(super) struct ConnectionPool(Mutex<BTreeMap<SocketAddr, Vec<NodeConnection>>>);

impl ConnectionPool {
    /// Takes an unused connection to a media node, if there is one.
    pub(super) fn take(&self, peer: SocketAddr) -> Option<NodeConnection> {
        let mut kept = self.0.lock();
        let connections = kept.get_mut(&peer)?;
        // The other media node closes a connection that is unused for some seconds.
        let open = std::iter::from_fn(|| connections.pop()).find(|it| !it.is_closed());
        if connections.is_empty() {
            kept.remove(&peer);
        }
        open
    }

    /// Keeps a connection whose response was read to its end.
    pub(super) fn keep(&self, connection: NodeConnection) {
        let mut kept = self.0.lock();
        // Origins that are gone leave nothing behind.
        kept.retain(|_, connections| {
            connections.retain(|it| !it.is_closed());
            !connections.is_empty()
        });
        let connections = kept.entry(connection.peer()).or_default();
        if connections.len() < MAX_KEPT {
            connections.push(connection);
        }
    }
}
