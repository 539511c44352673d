//! Which media nodes pull which streams from this one. One whose connection was lost without its notice finds that out by asking.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use media_wire::StreamKey;
use parking_lot::Mutex;

/// The pulls that this media node serves. Clones share them.
#[derive(Clone, Default)]
pub(super) struct ServedPulls(Arc<Mutex<HashMap<PulledStream, usize>>>);

/// A stream, and the id of the media node that pulls it.
type PulledStream = (StreamKey, HeaderValue);

/// A pull that is served until this is dropped.
pub(super) struct ServedPull {
    pulls: ServedPulls,
    of: PulledStream,
}

impl ServedPulls {
    pub(super) fn begin(&self, key: &StreamKey, node: &HeaderValue) -> ServedPull {
        let of = (key.clone(), node.clone());
        *self.0.lock().entry(of.clone()).or_default() += 1;
        ServedPull {
            pulls: self.clone(),
            of,
        }
    }

    pub(super) fn has(&self, key: &StreamKey, node: &HeaderValue) -> bool {
        self.0.lock().contains_key(&(key.clone(), node.clone()))
    }
}

impl Drop for ServedPull {
    fn drop(&mut self) {
        let mut pulls = self.pulls.0.lock();
        if let Some(count) = pulls.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                pulls.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_is_served_until_the_last_response_of_the_media_node_ends() {
        let key = StreamKey::new(None, "live", "a").unwrap();
        let [one, two] = ["1", "2"].map(HeaderValue::from_static);
        let pulls = ServedPulls::default();
        let former = pulls.begin(&key, &one);
        let next = pulls.begin(&key, &one);
        drop(former);
        assert_eq!(
            [&one, &two].map(|node| pulls.has(&key, node)),
            [true, false]
        );
        drop(next);
        assert!(pulls.0.lock().is_empty());
    }
}
