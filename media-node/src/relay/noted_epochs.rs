//! Epochs of publications that are noted for a limited time, by stream.

use std::collections::HashMap;
use std::time::Duration;

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use parking_lot::Mutex;
use tokio::time::Instant;

/// One epoch of each stream, the latest one that was noted.
pub(super) struct NotedEpochs {
    /// Time after which an epoch is forgotten.
    limit: Duration,
    noted: Mutex<HashMap<StreamKey, (Epoch, Instant)>>,
}

impl NotedEpochs {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            noted: Mutex::default(),
        }
    }

    pub(super) fn note(&self, key: &StreamKey, epoch: Epoch) {
        let mut noted = self.noted.lock();
        noted.retain(|_, (_, since)| since.elapsed() < self.limit);
        noted.insert(key.clone(), (epoch, Instant::now()));
    }

    /// Forgets the epoch of a stream, unless it is later than this one.
    pub(super) fn forget_up_to(&self, key: &StreamKey, epoch: Epoch) {
        let mut noted = self.noted.lock();
        if noted.get(key).is_some_and(|(next, _)| *next <= epoch) {
            noted.remove(key);
        }
    }

    pub(super) fn of(&self, key: &StreamKey) -> Option<Epoch> {
        let (epoch, since) = self.noted.lock().get(key).copied()?;
        (since.elapsed() < self.limit).then_some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn epoch_is_noted_for_a_limited_time() {
        let key = |name| StreamKey::new(None, "live", name).unwrap();
        let epochs = NotedEpochs::new(LIMIT);
        epochs.note(&key("a"), Epoch(7));
        assert_eq!(epochs.of(&key("a")), Some(Epoch(7)));
        assert_eq!(epochs.of(&key("b")), None);
        advance(LIMIT).await;
        assert_eq!(epochs.of(&key("a")), None);
        epochs.note(&key("b"), Epoch(8));
        assert_eq!(epochs.noted.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn epoch_is_noted_until_it_is_reached() {
        let key = StreamKey::new(None, "live", "a").unwrap();
        let epochs = NotedEpochs::new(LIMIT);
        epochs.note(&key, Epoch(7));
        epochs.forget_up_to(&key, Epoch(6));
        assert_eq!(epochs.of(&key), Some(Epoch(7)));
        epochs.forget_up_to(&key, Epoch(7));
        assert_eq!(epochs.of(&key), None);
    }
}
