//! Publications that an origin waits for: the edge of one that is over has announced that another encoder's follows in its next request.
//! Until it comes, no encoder that stands by takes its place.

use std::collections::HashMap;
use std::time::Duration;

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Time in which it comes: that of a few requests between an edge and an origin that are far from each other.
const ARRIVES: Duration = Duration::from_millis(1500);

/// The publications that are awaited, by stream.
#[derive(Default)]
pub(super) struct Successors(Mutex<HashMap<StreamKey, (Epoch, Instant)>>);

impl Successors {
    /// Notes that a publication follows.
    pub(super) fn expect(&self, key: &StreamKey, epoch: Epoch) {
        let mut expected = self.0.lock();
        expected.retain(|_, (_, since)| since.elapsed() < ARRIVES);
        expected.insert(key.clone(), (epoch, Instant::now()));
    }

    /// Notes that a publication has begun: it follows no more, nor does an earlier one.
    pub(super) fn arrived(&self, key: &StreamKey, epoch: Epoch) {
        let mut expected = self.0.lock();
        if expected.get(key).is_some_and(|(next, _)| *next <= epoch) {
            expected.remove(key);
        }
    }

    /// Returns the epoch of the publication that follows, unless it is overdue.
    pub(super) fn of(&self, key: &StreamKey) -> Option<Epoch> {
        let (epoch, since) = self.0.lock().get(key).copied()?;
        (since.elapsed() < ARRIVES).then_some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn publication_is_awaited_for_a_limited_time() {
        let key = |name| StreamKey::new(None, "live", name).unwrap();
        let successors = Successors::default();
        successors.expect(&key("a"), Epoch(7));
        assert_eq!(successors.of(&key("a")), Some(Epoch(7)));
        assert_eq!(successors.of(&key("b")), None);
        advance(ARRIVES).await;
        assert_eq!(successors.of(&key("a")), None);
        successors.expect(&key("b"), Epoch(8));
        assert_eq!(successors.0.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn publication_is_awaited_until_it_arrives() {
        let key = StreamKey::new(None, "live", "a").unwrap();
        let successors = Successors::default();
        successors.expect(&key, Epoch(7));
        successors.arrived(&key, Epoch(6));
        assert_eq!(successors.of(&key), Some(Epoch(7)));
        successors.arrived(&key, Epoch(7));
        assert_eq!(successors.of(&key), None);
    }
}
