//! A live stream: its log, its publication if it has one, and the number of its readers.

mod newest_keyframe;
mod pulses;
mod readers;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::sync::watch;

pub use self::newest_keyframe::NewestKeyframe;
use crate::active_publication::ActivePublication;
use crate::lock::lock;
use crate::media_memory::MediaMemory;
use crate::notifier::Notifiers;
use crate::retention::WindowReaders;
use crate::segment::Segment;
use crate::segment_run::NewestRun;
use crate::settings::{EngineLimits, EngineSettings, InitDataLimits};
use crate::stream_state::{
    PublicationInfo, PublicationSource, ReaderCounts, StreamState, StreamStats,
};
use crate::window::Window;
use crate::worker_pulses::WorkerPulses;
use crate::write_state::{Notification, WriteState};
use crate::writer::Writer;

/// The state that all streams of a registry share.
#[derive(Debug)]
pub(crate) struct EngineContext {
    pub(crate) settings: EngineSettings,
    pub(crate) limits: EngineLimits,
    pub(crate) workers: WorkerPulses,
    pub(crate) memory: Arc<MediaMemory>,
}

/// A live stream. It exists as soon as a client asks for it, with a publisher or without.
#[derive(Debug)]
pub struct Stream {
    key: StreamKey,
    context: Arc<EngineContext>,
    /// Those that the registry had when the stream was created.
    init_data_limits: InitDataLimits,
    /// Locked before `window` where both are needed.
    write_state: Mutex<WriteState>,
    window: Mutex<Window>,
    notifiers: Notifiers,
    /// One for each worker.
    newest_runs: Box<[NewestRun]>,
    window_readers: Arc<WindowReaders>,
    lags: AtomicU64,
    standbys: AtomicUsize,
    /// Those who search for the publication elsewhere.
    searches: Arc<()>,
    state: watch::Sender<StreamState>,
    readers: watch::Sender<ReaderCounts>,
}

/// The search for a stream's publication, which another media node had and may still have.
#[derive(Debug)]
pub struct PublicationSearch {
    _searches: Arc<()>,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, context: Arc<EngineContext>) -> Self {
        let settings = &context.settings;
        let init_data_limits = context.limits.init_data();
        Self {
            key,
            init_data_limits,
            window: Mutex::new(Window::new(
                settings.window,
                settings.window_max_bytes,
                Arc::clone(&context.memory),
            )),
            notifiers: Notifiers::new(settings.workers),
            newest_runs: (0..settings.workers.max(1))
                .map(|_| NewestRun::default())
                .collect(),
            write_state: Mutex::new(WriteState {
                writer: Writer::new(init_data_limits, &context.memory),
                notified: vec![Notification::default(); settings.workers.max(1)].into(),
                ..WriteState::default()
            }),
            window_readers: Arc::default(),
            lags: AtomicU64::new(0),
            standbys: AtomicUsize::new(0),
            searches: Arc::default(),
            state: watch::Sender::default(),
            readers: watch::Sender::default(),
            context,
        }
    }

    /// Returns the name of the stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Returns the current state.
    pub fn state(&self) -> StreamState {
        self.state.borrow().clone()
    }

    /// Returns a receiver of the current state and all later ones.
    pub fn watch(&self) -> watch::Receiver<StreamState> {
        self.state.subscribe()
    }

    /// Returns the epoch of the last message and the sequence after it: the start of a relay that takes over.
    pub fn position(&self) -> Option<(Epoch, u64)> {
        self.write_state().writer.position()
    }

    /// Returns whether the log still has this message of a publication.
    pub fn has_message(&self, epoch: Epoch, sequence: u64) -> bool {
        self.window().contains(epoch, sequence)
    }

    /// Returns the time since the publication's last message, or since its start. `None` without a publication.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let state = self.write_state();
        let active = state.publication.as_ref()?;
        Some(now.saturating_duration_since(active.last_message))
    }

    /// Returns the limits of the init data of its publications and standbys.
    pub(crate) fn init_data_limits(&self) -> InitDataLimits {
        self.init_data_limits
    }

    /// Keeps the stream from its end while its publication is searched for, until the result is dropped.
    pub fn search(&self) -> PublicationSearch {
        PublicationSearch {
            _searches: Arc::clone(&self.searches),
        }
    }

    pub(crate) fn is_searched_for(&self) -> bool {
        Arc::strong_count(&self.searches) > 1
    }

    /// Returns the number of encoders that stand by.
    pub fn standbys(&self) -> usize {
        self.standbys.load(Ordering::Relaxed)
    }

    /// Counts a standby, unless there are `max` already. Returns whether it is counted.
    pub(crate) fn standby_joined(&self, max: usize) -> bool {
        let more = |standbys| (standbys < max).then_some(standbys + 1);
        self.standbys
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(crate) fn standby_left(&self) {
        self.standbys.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the media time from the log's beginning to its newest message, in milliseconds, as [`Batch::end`](crate::Batch::end).
    pub fn age(&self) -> Option<i64> {
        self.write_state().writer.age()
    }

    /// Returns the statistics of the stream.
    pub fn stats(&self) -> StreamStats {
        let mut stats = {
            let state = self.write_state();
            let counters = state.writer.counters();
            let description = state.writer.description();
            StreamStats {
                messages: counters.messages,
                bytes_in: counters.bytes,
                lags: self.lags.load(Ordering::Relaxed),
                gaps: counters.gaps,
                missing: counters.missing,
                jumps: state.writer.jumps(),
                video_frames: counters.video_frames,
                keyframe_interval: counters
                    .keyframe_interval
                    .and_then(|milliseconds| u64::try_from(milliseconds).ok())
                    .map(Duration::from_millis),
                started: state.publication.as_ref().map(|active| active.started),
                position: state.writer.position(),
                video: description.video,
                audio: description.audio,
                width: description.metadata.width,
                height: description.metadata.height,
                last_timestamp: state.writer.last_timestamp(),
                ..StreamStats::default()
            }
        };
        let window = self.window();
        stats.window_segments = window.len();
        stats.window_bytes = window.bytes();
        stats
    }

    pub(crate) fn notifiers(&self) -> &Notifiers {
        &self.notifiers
    }

    pub(crate) fn write_state(&self) -> MutexGuard<'_, WriteState> {
        lock(&self.write_state)
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Moves sealed segments into the window. Returns whether there were any.
    pub(crate) fn commit(&self, state: &mut WriteState) -> bool {
        if !state.writer.has_sealed() {
            return false;
        }
        let tracks = state.writer.tracks();
        let watched = self.is_watched();
        for segment in state.writer.sealed() {
            state.segments += 1;
            self.update_window(&mut state.playable, |window| {
                window.push(segment, tracks, watched)
            });
        }
        true
    }

    /// Evicts what the log may not keep while memory is short, for a stream that gets no segments. Returns the segments, to
    /// be dropped outside of locks.
    pub(crate) fn shorten(&self, state: &mut WriteState) -> Vec<Arc<Segment>> {
        let watched = self.is_watched();
        self.update_window(&mut state.playable, |window| window.evict(watched))
    }

    /// Gives up the log and its init data, unless it has readers. Returns its segments, to be dropped outside of locks.
    pub(crate) fn give_up_unread_log(&self, state: &mut WriteState) -> Vec<Arc<Segment>> {
        if self.is_watched() {
            return Vec::new();
        }
        // A slate continues, and viewers that join it later need its init data.
        if state.publication.is_none() {
            state.writer.give_up();
        }
        self.update_window(&mut state.playable, Window::give_up)
    }

    /// Changes the window, and then `playable`: whether a viewer can start. The result is dropped outside of the lock.
    fn update_window<T>(&self, playable: &mut bool, update: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.window();
        let result = update(&mut window);
        let now = window.playable();
        drop(window);
        if std::mem::replace(playable, now) != now {
            self.state.send_modify(|state| state.playable = now);
        }
        result
    }

    /// Makes a publication that has just begun reserve no more than its rate shows.
    pub(crate) fn settle_first_reservation(&self, now: Instant) {
        let state = self.write_state();
        if let Some(active) = &state.publication {
            let age = now.saturating_duration_since(active.started);
            self.window().reservation.settle_first(age);
        }
    }

    pub(crate) fn memory(&self) -> &Arc<MediaMemory> {
        &self.context.memory
    }

    /// Seals the open segment and notifies all readers that lack segments.
    fn flush(&self, state: &mut WriteState) {
        state.writer.seal();
        self.commit(state);
        state.sealed_by_message = false;
        for worker in 0..state.notified.len() {
            let notified = state.notified.get(worker).copied().unwrap_or_default();
            if notified.segments < state.segments {
                self.notify(state, worker, notified.at);
            }
        }
    }

    /// Hands over the stream to another publication, or to none. The former one is superseded.
    pub(crate) fn hand_over(&self, state: &mut WriteState, next: Option<ActivePublication>) {
        self.flush(state);
        let publication = next.as_ref().map(ActivePublication::info);
        let is_slate = publication.is_some_and(|next| next.source.is_slate());
        let former = std::mem::replace(&mut state.publication, next);
        let was_slate = former.as_ref().is_some_and(|it| it.source.is_slate());
        if let Some(former) = former {
            former.token.supersede();
        }
        if publication.is_none() {
            self.window().settle_reservation();
        }
        if !is_slate && !was_slate {
            state.idle_since = None;
        }
        if let Some(PublicationInfo { epoch, source, .. }) = publication {
            if !source.is_slate() {
                state.had_publisher = !source.is_copy();
                state.idle_since = None;
            }
            let mut window = self.window();
            let on_air = if source.is_copy() {
                // A pull can begin with the rest of a publication that has ended, before the one that is on air at the origin.
                epoch.max(window.on_air())
            } else {
                epoch
            };
            window.set_on_air(on_air);
            window.begin(source == PublicationSource::Forwarded || source.is_copy());
            state.playable = window.playable();
        }
        let playable = state.playable;
        self.state.send_modify(|state| {
            state.publication = publication;
            state.playable = playable;
        });
    }

    /// Sets the epoch that an origin has on air, before a pull from it. Viewers that join get no message of an earlier one.
    pub fn expect_epoch(&self, epoch: Epoch) {
        self.set_on_air(&mut self.write_state(), epoch);
    }

    pub(crate) fn set_on_air(&self, state: &mut WriteState, epoch: Epoch) {
        self.update_window(&mut state.playable, |window| window.set_on_air(epoch));
    }

    /// Returns the epoch on air: that of the newest publication here, or a later one that is known to be elsewhere.
    pub fn on_air(&self) -> Epoch {
        self.window().on_air()
    }

    /// Makes viewers that join wait until the log has the messages before `sequence`.
    pub(crate) fn resume_until(&self, state: &mut WriteState, sequence: u64) {
        self.update_window(&mut state.playable, |window| window.resume_until(sequence));
    }

    /// Lets viewers join although the relay has sent no message, and wakes those that wait.
    pub(crate) fn resumed(&self, state: &mut WriteState) {
        self.update_window(&mut state.playable, Window::resumed);
        self.notifiers.notify();
    }

    /// Ends the stream. Readers get the segments that are left.
    pub(crate) fn end(&self) {
        self.window().end_stream();
        self.state.send_modify(|state| state.ended = true);
        self.notifiers.notify();
    }

    pub(crate) fn is_published_by(&self, epoch: Epoch) -> bool {
        let publication = self.state.borrow().publication;
        publication.is_some_and(|publication| publication.epoch == epoch)
    }
}
