//! How much has arrived of the publications that edges forward to this media node. A large message arrives in parts, which an edge would
//! take for a connection that has stalled if it only knew about whole messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use media_wire::StreamKey;
use parking_lot::Mutex;

/// The bytes of the latest request that forwards each stream. Clones share them.
#[derive(Clone, Default)]
pub(super) struct ArrivedBytes(Arc<Mutex<HashMap<StreamKey, Arc<AtomicU64>>>>);

/// A request that is counted until this is dropped.
pub(super) struct Arrival {
    all: ArrivedBytes,
    key: StreamKey,
    count: Arc<AtomicU64>,
}

impl ArrivedBytes {
    pub(super) fn begin(&self, key: &StreamKey) -> Arrival {
        let count = Arc::default();
        self.0.lock().insert(key.clone(), Arc::clone(&count));
        Arrival {
            all: self.clone(),
            key: key.clone(),
            count,
        }
    }

    /// Returns the bytes of a stream, if it is forwarded to this media node.
    pub(super) fn of(&self, key: &StreamKey) -> Option<u64> {
        let arrived = self.0.lock();
        arrived.get(key).map(|count| count.load(Ordering::Relaxed))
    }
}

impl Arrival {
    pub(super) fn add(&self, bytes: usize) {
        self.count.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut arrived = self.all.0.lock();
        // A later request may have its place.
        let latest = arrived.get(&self.key);
        if latest.is_some_and(|count| Arc::ptr_eq(count, &self.count)) {
            arrived.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_latest_request() {
        let key = StreamKey::new(None, "live", "a").unwrap();
        let arrived = ArrivedBytes::default();
        assert_eq!(arrived.of(&key), None);
        let former = arrived.begin(&key);
        former.add(7);
        assert_eq!(arrived.of(&key), Some(7));
        let latest = arrived.begin(&key);
        latest.add(2);
        former.add(1);
        drop(former);
        assert_eq!(arrived.of(&key), Some(2));
        drop(latest);
        assert_eq!(arrived.of(&key), None);
    }
}
