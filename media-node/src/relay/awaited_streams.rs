//! Streams whose publication is awaited here, by viewers and by other media nodes. A publication that starts wakes those who wait for its
//! stream: thousands may wait for names that no encoder publishes.

use std::collections::HashMap;
use std::future::pending;

use media_wire::StreamKey;
use parking_lot::Mutex;
use tokio::sync::watch;

/// The streams whose publication is awaited.
#[derive(Default)]
pub(super) struct AwaitedStreams(Mutex<HashMap<StreamKey, watch::Sender<()>>>);

/// A wait for publications of a stream, until this is dropped.
pub(super) struct PublicationWait<'a> {
    streams: &'a AwaitedStreams,
    key: StreamKey,
    started: watch::Receiver<()>,
}

impl AwaitedStreams {
    /// Begins to wait. Every publication of the stream that starts from now on is noticed.
    pub(super) fn wait_for(&self, key: &StreamKey) -> PublicationWait<'_> {
        let started = self.0.lock().entry(key.clone()).or_default().subscribe();
        PublicationWait {
            streams: self,
            key: key.clone(),
            started,
        }
    }

    /// Wakes those who wait for the stream.
    pub(super) fn notify(&self, key: &StreamKey) {
        if let Some(started) = self.0.lock().get(key) {
            started.send_replace(());
        }
    }
}

impl PublicationWait<'_> {
    /// Waits until a publication has started since the last call. Cancel safe.
    pub(super) async fn started(&mut self) {
        // The sender stays in the table for as long as this exists.
        if self.started.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

impl Drop for PublicationWait<'_> {
    fn drop(&mut self) {
        let mut streams = self.streams.0.lock();
        let started = streams.get(&self.key);
        if started.is_some_and(|started| started.receiver_count() == 1) {
            streams.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::new(None, "live", name).unwrap()
    }

    #[test]
    fn publication_wakes_those_who_wait_for_its_stream_and_no_others() {
        let streams = AwaitedStreams::default();
        let wait_for = |name| streams.wait_for(&key(name));
        let mut waits = [wait_for("a"), wait_for("a"), wait_for("b")];
        streams.notify(&key("a"));
        streams.notify(&key("c"));
        let mut woken = || {
            waits
                .each_mut()
                .map(|it| it.started().now_or_never().is_some())
        };
        assert_eq!(woken(), [true, true, false]);
        assert_eq!(woken(), [false; 3]);
    }

    #[test]
    fn stream_is_forgotten_with_the_last_one_who_waits() {
        let streams = AwaitedStreams::default();
        let first = streams.wait_for(&key("a"));
        let second = streams.wait_for(&key("a"));
        drop(first);
        assert_eq!(streams.0.lock().len(), 1);
        drop(second);
        assert!(streams.0.lock().is_empty());
    }
}
