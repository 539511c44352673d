//! The registry: all streams of a media node, the rules for publishers of one stream, and the end of streams.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use thiserror::Error;

use crate::largest_streams::{EndedStream, end_largest};
use crate::lock::lock;
use crate::media_memory::{IncompleteMessages, MediaMemory, MemoryStats, OutOfMemory};
use crate::publication::Publication;
use crate::settings::{EngineLimits, EngineSettings, InitDataLimits};
use crate::standby::{Standby, TooManyStandbys};
use crate::stream::{EngineContext, Stream};
use crate::stream_state::PublicationSource;
use crate::stream_table::{RegisteredStream, StreamTable, TooManyStreams};
use crate::worker_pulses::WorkerPulses;
use crate::write_state::WriteState;

/// Time for which a stream without a publisher and readers keeps its log. A relay that has lost its connection returns earlier.
const UNREAD_LOG_LASTS: Duration = Duration::from_secs(6);

/// All streams of a media node. Clones share them.
#[derive(Clone, Debug)]
pub struct Registry {
    context: Arc<EngineContext>,
    streams: Arc<Mutex<StreamTable>>,
}

/// The treatment of a second publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// It takes over the stream.
    Takeover,
    /// It takes over the stream with this priority, which the caller has compared with that of the former one.
    Priority(u8),
    /// It is refused.
    Reject,
}

/// An error of [`Registry::publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The stream has a publisher, which the policy keeps.
    #[error("the stream is published already")]
    AlreadyPublished,
    /// The stream has a later publisher.
    #[error("the stream has a later publisher, of epoch {}", by.0)]
    Superseded {
        /// The epoch of the later publisher.
        by: Epoch,
    },
    /// The media node has the maximum number of streams.
    #[error(transparent)]
    TooManyStreams(#[from] TooManyStreams),
    /// The media node has no memory for another stream.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// An error of [`Registry::stand_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StandbyError {
    /// The stream has the maximum number of standbys.
    #[error(transparent)]
    TooManyStandbys(#[from] TooManyStandbys),
    /// The media node has the maximum number of streams.
    #[error(transparent)]
    TooManyStreams(#[from] TooManyStreams),
}

impl Registry {
    /// Returns a registry without streams.
    pub fn new(settings: EngineSettings) -> Self {
        Self {
            context: Arc::new(EngineContext {
                workers: WorkerPulses::new(&settings),
                memory: Arc::new(MediaMemory::new(settings.media_memory_bytes)),
                limits: EngineLimits::new(&settings),
                settings,
            }),
            streams: Arc::default(),
        }
    }

    /// Changes two of the settings: `max_streams`, and for new streams `init_data`.
    pub fn set_limits(&self, max_streams: usize, init_data: InitDataLimits) {
        self.context.limits.set(max_streams, init_data);
    }

    /// Begins a publication.
    ///
    /// A later epoch takes over from an earlier one, unless the policy keeps the first encoder. The same epoch takes over
    /// without a new start for viewers, because its messages are spliced by sequence. Nothing of the same epoch takes over
    /// from its encoder, and a pulled copy does not take over from a forwarded publication. A slate begins only in a stream of
    /// [`Registry::waiting`], and every other publication takes over from a slate.
    ///
    /// # Errors
    /// When the stream keeps its publisher, or the media node has the maximum number of streams or no memory for another one.
    pub fn publish(
        &self,
        key: &StreamKey,
        epoch: Epoch,
        source: PublicationSource,
        policy: DuplicatePolicy,
        now: Instant,
    ) -> Result<Publication, PublishError> {
        let mut streams = lock(&self.streams);
        let reservation = if streams.is_published(key) {
            None
        } else {
            Some(streams.reserve(&self.context.memory, now)?)
        };
        let stream = streams.for_publisher(key, &self.context)?;
        if let Some(reservation) = reservation {
            stream.window().reservation.begin(reservation);
        }
        let mut state = stream.write_state();
        let epoch = match source {
            PublicationSource::Encoder => later_than_all(&state, epoch),
            PublicationSource::Forwarded
            | PublicationSource::Pulled
            | PublicationSource::Slate
            | PublicationSource::PulledSlate => epoch,
        };
        arbitrate(&state, epoch, source, policy)?;
        let priority = match policy {
            DuplicatePolicy::Priority(priority) => priority,
            DuplicatePolicy::Takeover | DuplicatePolicy::Reject => 0,
        };
        Ok(Publication::begin(
            &stream, &mut state, epoch, source, priority, now,
        ))
    }

    /// Begins a standby of a stream, which may be one that does not exist yet.
    ///
    /// # Errors
    /// When the stream has the maximum number of standbys, or the media node that of streams.
    pub fn stand_by(&self, key: &StreamKey) -> Result<Standby, StandbyError> {
        Ok(Standby::new(self.open(key)?)?)
    }

    /// Ends the publication of a stream if it is earlier than `by` or a slate, and not a pulled copy. Returns whether it did. `by` is
    /// on air from then on.
    pub fn supersede(&self, key: &StreamKey, by: Epoch) -> bool {
        let Some(stream) = self.find(key) else {
            return false;
        };
        let mut state = stream.write_state();
        let earlier = state.publication.as_ref().is_some_and(|active| {
            let outdated = active.epoch < by || active.source.is_slate();
            outdated && !active.source.is_copy()
        });
        if earlier {
            stream.hand_over(&mut state, None);
            stream.set_on_air(&mut state, by);
        }
        earlier
    }

    /// Checks that the stream has had a publisher here, or that the limit of such streams permits one more.
    ///
    /// # Errors
    /// When the media node has the maximum number of published streams.
    pub fn check_limit_for(&self, key: &StreamKey) -> Result<(), TooManyStreams> {
        let (mut streams, limit) = (lock(&self.streams), self.context.limits.max_streams());
        if streams.is_published(key) || !streams.is_full(limit) {
            Ok(())
        } else {
            Err(TooManyStreams { limit })
        }
    }

    /// Checks that the stream has had a publisher here, or that there is memory for its publication.
    ///
    /// # Errors
    /// When the media node has no memory for another stream.
    pub fn check_memory_for(&self, key: &StreamKey, now: Instant) -> Result<(), OutOfMemory> {
        let (mut streams, memory) = (lock(&self.streams), &self.context.memory);
        if streams.is_published(key) || streams.has_room(memory, now) {
            Ok(())
        } else {
            Err(memory.refuse())
        }
    }

    /// Returns the stream, and creates it if it does not exist. A stream that was never published exists while the
    /// returned value does.
    ///
    /// # Errors
    /// When the media node has the maximum number of streams with readers only.
    pub fn open(&self, key: &StreamKey) -> Result<Arc<Stream>, TooManyStreams> {
        lock(&self.streams).for_reader(key, &self.context)
    }

    /// Returns the stream, if it exists.
    pub fn find(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        let streams = lock(&self.streams);
        let registered = streams.by_key.get(key);
        registered.map(|registered| Arc::clone(&registered.stream))
    }

    /// Returns whether the stream takes the place of another one: it is published, or has readers that wait for its publisher.
    pub fn is_occupied(&self, key: &StreamKey) -> bool {
        let streams = lock(&self.streams);
        let registered = streams.by_key.get(key);
        registered.is_some_and(|registered| registered.published && !registered.is_idle())
    }

    /// Returns all streams, including those with readers only.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let streams = lock(&self.streams);
        let registered = streams.by_key.values();
        registered
            .map(|registered| Arc::clone(&registered.stream))
            .collect()
    }

    /// Returns the streams whose publisher this media node had, and whose last sweep found them without one.
    pub fn waiting(&self) -> Vec<Arc<Stream>> {
        let mut streams = self.streams();
        streams.retain(|stream| stream.write_state().awaits_encoder());
        streams
    }

    /// Returns the viewers of all streams together.
    pub fn viewers(&self) -> usize {
        self.context.workers.viewers()
    }

    /// Adapts the pulse of a worker to the share of time, 0 to 1, in which its thread had work. Call it a few times a second.
    /// Returns the pulse: the shortest time between two writes to one of the worker's viewers.
    pub fn report_load(&self, worker: usize, busy: f64) -> Duration {
        let worker = self.context.workers.of(worker);
        worker.map_or(Duration::ZERO, |worker| {
            worker.adapt(&self.context.settings, busy)
        })
    }

    /// Returns the statistics of the media memory.
    pub fn memory(&self) -> MemoryStats {
        self.context.memory.stats()
    }

    /// Returns a count of the incomplete messages of a publisher, zero at first.
    pub fn incomplete_messages(&self) -> IncompleteMessages {
        IncompleteMessages::new(&self.context.memory)
    }

    /// Returns whether more media memory is in use than the maximum, although streams have given up what they can.
    pub fn is_out_of_memory(&self) -> bool {
        self.context.memory.shortage().is_over_limit()
    }

    /// Ends the streams that need the most memory, until the groups of pictures of the others fit into `bytes`. Their publishers are
    /// refused, and viewers get no more. Call it when memory is short and logs have given up what they can.
    pub fn end_largest(&self, bytes: usize) -> Vec<EndedStream> {
        end_largest(&mut lock(&self.streams), &self.context.memory, bytes)
    }

    /// Changes the maximum bytes of the logs of all streams together, and of the incomplete messages of publishers.
    pub fn limit_memory(&self, bytes: usize) {
        self.context.memory.set_limit(bytes);
    }

    /// Ends streams that have had no publisher for the continuity window, unless their publication is searched for, and removes those that
    /// never had one and have no readers. The log of a stream without publisher and readers is freed earlier. Call it about once a second.
    pub fn sweep(&self, now: Instant) {
        let continuity = self.context.settings.continuity;
        let memory = &self.context.memory;
        // Dropped outside of the locks.
        let mut evicted = Vec::new();
        let mut streams = lock(&self.streams);
        streams.pressure.update(memory, now);
        streams.remove(RegisteredStream::is_unused);
        let mut ended = 0;
        streams.by_key.retain(|_, registered| {
            if !registered.published {
                // A count of 1 means that only this map holds it. The map is locked, so the count cannot grow.
                return Arc::strong_count(&registered.stream) > 1;
            }
            let mut state = registered.stream.write_state();
            if memory.shortage().is_over_target() {
                evicted.extend(registered.stream.shorten(&mut state));
            }
            registered.stream.decide_tracks(&mut state, now);
            if let Some(active) = state.publication.as_ref().filter(|_| state.has_encoder()) {
                let age = now.saturating_duration_since(active.started);
                registered.stream.window().review_reservation(age);
                return true;
            }
            let idle_since = *state.idle_since.get_or_insert(now);
            let idle = now.saturating_duration_since(idle_since);
            if idle >= UNREAD_LOG_LASTS {
                evicted.extend(registered.stream.give_up_unread_log(&mut state));
            }
            drop(state);
            if idle < continuity || registered.stream.is_searched_for() {
                return true;
            }
            registered.stream.end();
            ended += 1;
            false
        });
        streams.published -= ended;
        drop(streams);
    }
}

/// Returns an epoch for an encoder that connects now: later than every epoch of the stream, even if the clocks of two
/// media nodes differ. It keeps its random bits: another media node may know the same latest epoch.
fn later_than_all(state: &WriteState, epoch: Epoch) -> Epoch {
    let published = state.publication.as_ref().map(|active| active.epoch);
    let logged = state.writer.position().map(|(epoch, _)| epoch);
    match published.max(logged) {
        Some(latest) if latest >= epoch => latest.next(epoch.0),
        _ => epoch,
    }
}

/// Decides whether a publication may take over the stream.
fn arbitrate(
    state: &WriteState,
    epoch: Epoch,
    source: PublicationSource,
    policy: DuplicatePolicy,
) -> Result<(), PublishError> {
    if source == PublicationSource::Slate {
        let waits = state.awaits_encoder();
        return waits.then_some(()).ok_or(PublishError::AlreadyPublished);
    }
    let Some(active) = &state.publication else {
        return Ok(());
    };
    if active.source.is_slate() {
        return Ok(());
    }
    if source.is_slate() && !active.source.is_copy() {
        // A slate never ends the publication of an encoder, not even of one that began just after it.
        return Err(PublishError::AlreadyPublished);
    }
    if epoch < active.epoch {
        return Err(PublishError::Superseded { by: active.epoch });
    }
    let refused = if epoch == active.epoch {
        // The same publication over another route, which must not lead back through this media node.
        match active.source {
            PublicationSource::Encoder => true,
            PublicationSource::Forwarded => source.is_copy(),
            PublicationSource::Pulled
            | PublicationSource::Slate
            | PublicationSource::PulledSlate => false,
        }
    } else {
        // Another media node has accepted the later publication of a pulled copy, so the policy was applied there.
        !source.is_copy() && policy == DuplicatePolicy::Reject
    };
    if refused {
        Err(PublishError::AlreadyPublished)
    } else {
        Ok(())
    }
}
