//! The table of all streams of a media node. It limits their number, and removes idle ones to make room for others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_wire::StreamKey;
use thiserror::Error;

use crate::media_memory::{MediaMemory, OutOfMemory, PressureWatch, Reservation};
use crate::stream::{EngineContext, Stream};

/// All streams of a media node by their key.
#[derive(Debug, Default)]
pub(crate) struct StreamTable {
    pub(crate) by_key: BTreeMap<StreamKey, RegisteredStream>,
    /// The number of streams that have or had a publisher.
    pub(crate) published: usize,
    pub(crate) pressure: PressureWatch,
    /// When reservations were last settled for want of room.
    settled: Option<Instant>,
}

/// The minimum time between two passes that settle reservations. Otherwise each refused client would cost a pass over all streams.
const SETTLED: Duration = Duration::from_millis(100);

/// A stream of the table.
#[derive(Debug)]
pub(crate) struct RegisteredStream {
    pub(crate) stream: Arc<Stream>,
    pub(crate) published: bool,
}

/// The error of a media node with the maximum number of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the media node has {limit} streams, which is the maximum")]
pub struct TooManyStreams {
    /// The maximum.
    pub limit: usize,
}

impl StreamTable {
    /// Returns whether the stream has or had a publisher.
    pub(crate) fn is_published(&self, key: &StreamKey) -> bool {
        let registered = self.by_key.get(key);
        registered.is_some_and(|registered| registered.published)
    }

    pub(crate) fn for_publisher(
        &mut self,
        key: &StreamKey,
        context: &Arc<EngineContext>,
    ) -> Result<Arc<Stream>, TooManyStreams> {
        let limit = context.limits.max_streams();
        let full = self.is_full(limit);
        let registered = find_or_add(&mut self.by_key, key, full, context)?;
        if !registered.published {
            if full {
                return Err(TooManyStreams { limit });
            }
            registered.published = true;
            self.published += 1;
        }
        Ok(Arc::clone(&registered.stream))
    }

    /// Returns whether the maximum number of published streams is reached, even after idle ones were removed.
    pub(crate) fn is_full(&mut self, limit: usize) -> bool {
        if self.published >= limit {
            self.remove(RegisteredStream::is_idle);
        }
        self.published >= limit
    }

    /// Reserves memory for a new publication.
    pub(crate) fn reserve(
        &mut self,
        memory: &Arc<MediaMemory>,
        now: Instant,
    ) -> Result<Reservation, OutOfMemory> {
        if !self.has_room(memory, now) {
            self.remove(RegisteredStream::is_idle);
        }
        memory.reserve()
    }

    /// Returns whether a publication could reserve memory. Those that have just begun reserve no more than their rate shows when there
    /// is no room otherwise.
    pub(crate) fn has_room(&mut self, memory: &MediaMemory, now: Instant) -> bool {
        let is_settled = |at: Instant| now.saturating_duration_since(at) < SETTLED;
        if memory.has_room() || self.settled.is_some_and(is_settled) {
            return memory.has_room();
        }
        self.settled = Some(now);
        let streams = self.by_key.values();
        streams.for_each(|registered| registered.stream.settle_first_reservation(now));
        memory.has_room()
    }

    /// Removes the streams that are or were published and for which `is_removed` returns true.
    pub(crate) fn remove(&mut self, is_removed: fn(&RegisteredStream) -> bool) {
        let before = self.by_key.len();
        self.by_key
            .retain(|_, registered| !registered.published || !is_removed(registered));
        self.published -= before - self.by_key.len();
    }

    /// Removes a stream that is or was published.
    pub(crate) fn remove_stream(&mut self, key: &StreamKey) {
        if self.by_key.remove(key).is_some() {
            self.published -= 1;
        }
    }

    /// Returns the streams that are or were published.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Arc<Stream>> {
        let published = self.by_key.values().filter(|it| it.published);
        published.map(|registered| &registered.stream)
    }

    pub(crate) fn for_reader(
        &mut self,
        key: &StreamKey,
        context: &Arc<EngineContext>,
    ) -> Result<Arc<Stream>, TooManyStreams> {
        let limit = context.limits.max_streams();
        // Streams without a publisher have a limit of their own, so that requests for them cannot keep publishers out.
        let full = self.by_key.len() - self.published >= limit;
        let registered = find_or_add(&mut self.by_key, key, full, context)?;
        Ok(Arc::clone(&registered.stream))
    }
}

/// Returns a stream, and adds it if it does not exist and the table is not `full`.
fn find_or_add<'a>(
    by_key: &'a mut BTreeMap<StreamKey, RegisteredStream>,
    key: &StreamKey,
    full: bool,
    context: &Arc<EngineContext>,
) -> Result<&'a mut RegisteredStream, TooManyStreams> {
    let limit = context.limits.max_streams();
    match by_key.entry(key.clone()) {
        Entry::Occupied(occupied) => Ok(occupied.into_mut()),
        Entry::Vacant(_) if full => Err(TooManyStreams { limit }),
        Entry::Vacant(vacant) => Ok(vacant.insert(RegisteredStream::new(key, context))),
    }
}

impl RegisteredStream {
    pub(crate) fn new(key: &StreamKey, context: &Arc<EngineContext>) -> Self {
        Self {
            stream: Arc::new(Stream::new(key.clone(), Arc::clone(context))),
            published: false,
        }
    }

    /// Returns whether the stream has neither a publication nor a reader. It waits for its publisher to return, and is removed
    /// when another publisher needs its place.
    pub(crate) fn is_idle(&self) -> bool {
        // A count of 1 means that only the map holds it. The map is locked, so the count cannot grow.
        Arc::strong_count(&self.stream) == 1 && self.stream.write_state().publication.is_none()
    }

    /// Returns whether the stream is idle and has never had a message, so that no viewer would notice its removal.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_idle() && self.stream.write_state().writer.position().is_none()
    }
}
