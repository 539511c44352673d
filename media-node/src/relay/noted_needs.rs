//! What media nodes need of a stream whose origin they have lost: it comes to another origin, which does not have it yet.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::protocol::NeededMessages;

/// The message that each media node needs next of each stream, as it last said.
pub(super) struct NotedNeeds {
    /// Time after which a need is forgotten.
    limit: Duration,
    noted: Mutex<Noted>,
}

struct Noted {
    streams: HashMap<StreamKey, HashMap<HeaderValue, Need>>,
    /// When needs were last forgotten.
    swept: Instant,
}

struct Need {
    epoch: Epoch,
    sequence: u64,
    since: Instant,
}

impl NotedNeeds {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            noted: Mutex::new(Noted {
                streams: HashMap::new(),
                swept: Instant::now(),
            }),
        }
    }

    /// Notes the message that a media node needs next.
    pub(super) fn note(
        &self,
        key: &StreamKey,
        node: &HeaderValue,
        (epoch, sequence): (Epoch, u64),
    ) {
        let since = Instant::now();
        let need = Need {
            epoch,
            sequence,
            since,
        };
        let mut noted = self.noted.lock();
        if noted.swept.elapsed() >= self.limit {
            noted.swept = since;
            noted.streams.retain(|_, needs| {
                needs.retain(|_, need| need.since.elapsed() < self.limit);
                !needs.is_empty()
            });
        }
        let needs = noted.streams.entry(key.clone()).or_default();
        needs.insert(node.clone(), need);
    }

    /// Returns what is needed of a publication.
    pub(super) fn of(&self, key: &StreamKey, epoch: Epoch) -> NeededMessages {
        let noted = self.noted.lock();
        let needs = noted.streams.get(key).into_iter().flat_map(HashMap::values);
        let sequences = needs
            .filter(|need| need.epoch == epoch && need.since.elapsed() < self.limit)
            .map(|need| need.sequence);
        NeededMessages {
            nodes: sequences.clone().count(),
            from: sequences.min().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn first_message_that_a_media_node_needs_of_a_publication_is_noted() {
        let key = |name| StreamKey::new(None, "live", name).unwrap();
        let [one, two, three] = ["1", "2", "3"].map(HeaderValue::from_static);
        let needs = NotedNeeds::new(LIMIT);
        needs.note(&key("a"), &one, (Epoch(7), 50));
        needs.note(&key("a"), &two, (Epoch(7), 30));
        needs.note(&key("a"), &three, (Epoch(6), 10));
        needs.note(&key("b"), &one, (Epoch(7), 20));
        let expected = NeededMessages { nodes: 2, from: 30 };
        assert_eq!(needs.of(&key("a"), Epoch(7)), expected);
        needs.note(&key("a"), &two, (Epoch(7), 60));
        let expected = NeededMessages { nodes: 2, from: 50 };
        assert_eq!(needs.of(&key("a"), Epoch(7)), expected);
        advance(LIMIT).await;
        assert_eq!(needs.of(&key("a"), Epoch(7)).nodes, 0);
        needs.note(&key("c"), &one, (Epoch(7), 20));
        assert_eq!(needs.noted.lock().streams.len(), 1);
    }
}
