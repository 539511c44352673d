//! All streams of a node: who may publish, who waits, and what is forgotten.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use thiserror::Error;

use crate::publication::{Holder, Publication, Ticket};
use crate::settings::EngineSettings;
use crate::stream::{PublicationSource, Shared, Stream, Writing, lock};

/// All streams of a node. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    streams: Arc<Mutex<Streams>>,
}

#[derive(Debug, Default)]
struct Streams {
    by_key: HashMap<StreamKey, Known>,
    /// Those that have or had a publisher.
    published: usize,
}

#[derive(Debug)]
struct Known {
    stream: Arc<Stream>,
    published: bool,
}

/// What happens to a second publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// It takes the stream over from the first one.
    Takeover,
    /// It is refused.
    Reject,
}

/// Why a stream cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// It has a publisher, and the policy is to keep it.
    #[error("the stream is published already")]
    AlreadyPublished,
    /// It has a later publisher.
    #[error("the stream has a later publisher, of epoch {}", by.0)]
    Superseded {
        /// The later one's epoch.
        by: Epoch,
    },
    /// The node has as many streams as it may have.
    #[error(transparent)]
    TooManyStreams(#[from] TooManyStreams),
}

/// The node has as many streams as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the node has {limit} streams, as many as it may have")]
pub struct TooManyStreams {
    /// How many.
    pub limit: usize,
}

impl Registry {
    /// A registry without streams.
    pub fn new(settings: EngineSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                viewers: AtomicUsize::new(0),
            }),
            streams: Arc::default(),
        }
    }

    /// Begins to publish.
    ///
    /// A later epoch takes over from an earlier one, unless the policy keeps the first encoder. The same epoch
    /// takes over in silence, and its messages are spliced by sequence; but nothing takes over from its encoder,
    /// and a pulled copy not from the publication.
    ///
    /// # Errors
    /// When the stream has another publisher that stays, or the node has too many streams.
    pub fn publish(
        &self,
        key: &StreamKey,
        epoch: Epoch,
        source: PublicationSource,
        policy: DuplicatePolicy,
        now: Instant,
    ) -> Result<Publication, PublishError> {
        let mut streams = lock(&self.streams);
        let stream = streams.for_publisher(key, &self.shared)?;
        let mut writing = stream.writing();
        let epoch = match source {
            PublicationSource::Encoder => later_than_all(&writing, epoch),
            PublicationSource::Forwarded | PublicationSource::Pulled => epoch,
        };
        arbitrate(&writing, epoch, source, policy)?;
        let ticket = Arc::new(Ticket::default());
        let holder = Holder {
            ticket: Arc::clone(&ticket),
            epoch,
            source,
            since: now,
        };
        stream.hand_over(&mut writing, Some(holder));
        drop(writing);
        Ok(Publication::new(stream, ticket, epoch, source))
    }

    /// Closes the publication of a stream, but not a pulled copy, if a later one is elsewhere. Tells whether it did.
    pub fn supersede(&self, key: &StreamKey, by: Epoch) -> bool {
        let Some(stream) = self.find(key) else {
            return false;
        };
        let mut writing = stream.writing();
        let earlier = writing
            .holder
            .as_ref()
            .is_some_and(|holder| holder.source != PublicationSource::Pulled && holder.epoch < by);
        if earlier {
            stream.hand_over(&mut writing, None);
        }
        earlier
    }

    /// The stream, which is made if it is not there: somebody wants it. Until it is published it stays while it is
    /// held.
    ///
    /// # Errors
    /// When as many streams are wanted as may be.
    pub fn open(&self, key: &StreamKey) -> Result<Arc<Stream>, TooManyStreams> {
        lock(&self.streams).for_reader(key, &self.shared)
    }

    /// The stream, if it is there.
    pub fn find(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        let streams = lock(&self.streams);
        streams
            .by_key
            .get(key)
            .map(|known| Arc::clone(&known.stream))
    }

    /// All streams, also those that are only wanted.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let streams = lock(&self.streams);
        let known = streams.by_key.values();
        known.map(|known| Arc::clone(&known.stream)).collect()
    }

    /// Viewers of all streams together.
    pub fn viewers(&self) -> usize {
        self.shared.viewers.load(Ordering::Relaxed)
    }

    /// Ends streams that have been without a publisher for the continuity window, and forgets those that never had
    /// one and that nobody holds. To be called about once a second.
    pub fn sweep(&self, now: Instant) {
        let continuity = self.shared.settings.continuity;
        let mut streams = lock(&self.streams);
        let mut forgotten = 0;
        streams.by_key.retain(|_, known| {
            if !known.published {
                // Held by nobody but this map, which is locked.
                return Arc::strong_count(&known.stream) > 1;
            }
            let mut writing = known.stream.writing();
            if writing.holder.is_some() {
                return true;
            }
            let idle_since = *writing.idle_since.get_or_insert(now);
            drop(writing);
            if now.saturating_duration_since(idle_since) < continuity {
                return true;
            }
            known.stream.end();
            forgotten += 1;
            false
        });
        streams.published -= forgotten;
    }
}

impl Streams {
    fn for_publisher(
        &mut self,
        key: &StreamKey,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Stream>, TooManyStreams> {
        let limit = shared.settings.max_streams;
        let full = self.published >= limit;
        let known = match self.by_key.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err(TooManyStreams { limit }),
            Entry::Vacant(vacant) => vacant.insert(Known::new(key, shared)),
        };
        if !known.published {
            if full {
                return Err(TooManyStreams { limit });
            }
            known.published = true;
            self.published += 1;
        }
        Ok(Arc::clone(&known.stream))
    }

    fn for_reader(
        &mut self,
        key: &StreamKey,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Stream>, TooManyStreams> {
        let limit = shared.settings.max_streams;
        // Names that nobody publishes must not keep publishers out: they are counted apart.
        let full = self.by_key.len() - self.published >= limit;
        let known = match self.by_key.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err(TooManyStreams { limit }),
            Entry::Vacant(vacant) => vacant.insert(Known::new(key, shared)),
        };
        Ok(Arc::clone(&known.stream))
    }
}

impl Known {
    fn new(key: &StreamKey, shared: &Arc<Shared>) -> Self {
        Self {
            stream: Arc::new(Stream::new(key.clone(), Arc::clone(shared))),
            published: false,
        }
    }
}

/// An encoder that connects now is later than all that was before it, even where the clocks of two nodes disagree.
fn later_than_all(writing: &Writing, epoch: Epoch) -> Epoch {
    let published = writing.holder.as_ref().map(|holder| holder.epoch);
    let logged = writing.writer.position().map(|(epoch, _)| epoch);
    match published.max(logged) {
        Some(Epoch(known)) => epoch.max(Epoch(known.saturating_add(1))),
        None => epoch,
    }
}

fn arbitrate(
    writing: &Writing,
    epoch: Epoch,
    source: PublicationSource,
    policy: DuplicatePolicy,
) -> Result<(), PublishError> {
    let Some(holder) = &writing.holder else {
        return Ok(());
    };
    if epoch < holder.epoch {
        return Err(PublishError::Superseded { by: holder.epoch });
    }
    let refused = match epoch == holder.epoch {
        // The same publication by another way, which must not lead through this node's own.
        true => match holder.source {
            PublicationSource::Encoder => true,
            PublicationSource::Forwarded => source == PublicationSource::Pulled,
            PublicationSource::Pulled => false,
        },
        // A copy of a later publication was let in elsewhere: the policy has been heard.
        false => source != PublicationSource::Pulled && policy == DuplicatePolicy::Reject,
    };
    match refused {
        true => Err(PublishError::AlreadyPublished),
        false => Ok(()),
    }
}
