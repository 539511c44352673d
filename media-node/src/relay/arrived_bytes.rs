//! How much has arrived of the publications that edges forward to this media node. A large message arrives in parts, which an edge would
//! take for a connection that has stalled if it only knew about whole messages.

use std::collections::HashMap;
use std::sync::Arc;

use media_wire::StreamKey;
use parking_lot::Mutex;

use crate::state::clients::{Client, ClientGuard};

/// The client of the latest request that forwards each stream, which counts its bytes. Clones share them.
#[derive(Clone, Default)]
pub(super) struct ArrivedBytes(Arc<Mutex<HashMap<StreamKey, Arc<Client>>>>);

/// A request whose bytes are known until this is dropped.
pub(super) struct Arrival {
    all: ArrivedBytes,
    client: Arc<Client>,
}

impl ArrivedBytes {
    pub(super) fn begin(&self, client: &ClientGuard) -> Arrival {
        let client = client.share();
        let key = client.stream.clone();
        self.0.lock().insert(key, Arc::clone(&client));
        Arrival {
            all: self.clone(),
            client,
        }
    }

    /// Returns the bytes of a stream, if it is forwarded to this media node.
    pub(super) fn of(&self, key: &StreamKey) -> Option<u64> {
        let arrived = self.0.lock();
        arrived.get(key).map(|client| client.counters().received)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut arrived = self.all.0.lock();
        // A later request may have its place.
        let latest = arrived.get(&self.client.stream);
        if latest.is_some_and(|client| Arc::ptr_eq(client, &self.client)) {
            arrived.remove(&self.client.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grant;
    use crate::state::clients::{ClientKind, ClientRole, Clients, NewClient};

    fn enter(clients: &Arc<Clients>, stream: &StreamKey) -> ClientGuard {
        clients.enter(NewClient {
            id: clients.next_id(),
            grant: Grant::default(),
            peer: ([127, 0, 0, 1], 1).into(),
            kind: ClientKind::Relay,
            role: ClientRole::Publisher,
            stream: stream.clone(),
            agent: String::new(),
        })
    }

    #[test]
    fn bytes_are_those_of_the_latest_request() {
        let key = StreamKey::new(None, "live", "a").unwrap();
        let arrived = ArrivedBytes::default();
        assert_eq!(arrived.of(&key), None);
        let clients = Clients::new();
        let [former, latest] = [0; 2].map(|_| enter(&clients, &key));
        let former_arrival = arrived.begin(&former);
        former.received(7);
        assert_eq!(arrived.of(&key), Some(7));
        let latest_arrival = arrived.begin(&latest);
        latest.received(2);
        former.received(1);
        drop(former_arrival);
        assert_eq!(arrived.of(&key), Some(2));
        drop(latest_arrival);
        assert_eq!(arrived.of(&key), None);
    }
}
