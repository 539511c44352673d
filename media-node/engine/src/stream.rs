//! A live stream: its log, its publication if it has one, and the number of its readers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::sync::watch;

use crate::active_publication::ActivePublication;
use crate::notifier::Notifiers;
use crate::pulse::pulse;
use crate::settings::EngineSettings;
use crate::stream_state::{PublicationInfo, PublicationSource, StreamState, StreamStats};
use crate::subscription::Format;
use crate::window::Window;
use crate::writer::Writer;

/// The state that all streams of a registry share.
#[derive(Debug)]
pub(crate) struct EngineContext {
    pub(crate) settings: EngineSettings,
    /// Viewers of all streams together.
    pub(crate) viewers: AtomicUsize,
}

/// A live stream. It exists as soon as a client asks for it, with a publisher or without.
#[derive(Debug)]
pub struct Stream {
    key: StreamKey,
    context: Arc<EngineContext>,
    /// Locked before `window` where both are needed.
    write_state: Mutex<WriteState>,
    window: Mutex<Window>,
    notifiers: Notifiers,
    viewers: AtomicUsize,
    relays: AtomicUsize,
    lags: AtomicU64,
    state: watch::Sender<StreamState>,
}

/// The writing side of a stream: its publication, and the messages that readers were not notified of.
#[derive(Debug, Default)]
pub(crate) struct WriteState {
    pub(crate) writer: Writer,
    pub(crate) publication: Option<ActivePublication>,
    pub(crate) last_seal: Option<Instant>,
    /// The window has segments that readers were not notified of.
    pub(crate) notification_due: bool,
    /// The time of the first sweep since the stream has no publisher.
    pub(crate) idle_since: Option<Instant>,
    playable: bool,
}

impl WriteState {
    /// Returns whether waiting messages are sent before their pulse: a keyframe has sealed the segment before it, and both
    /// are sent together; or the stream becomes playable with this keyframe.
    pub(crate) fn is_urgent(&self) -> bool {
        self.notification_due || (!self.playable && self.writer.opens_with_keyframe())
    }
}

impl Stream {
    pub(crate) fn new(key: StreamKey, context: Arc<EngineContext>) -> Self {
        let settings = &context.settings;
        Self {
            key,
            window: Mutex::new(Window::new(settings.window, settings.window_max_bytes)),
            notifiers: Notifiers::new(settings.workers),
            write_state: Mutex::new(WriteState {
                writer: Writer::new(settings.max_init_message_bytes),
                ..WriteState::default()
            }),
            viewers: AtomicUsize::new(0),
            relays: AtomicUsize::new(0),
            lags: AtomicU64::new(0),
            state: watch::Sender::default(),
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

    /// Returns the numbers of the stream.
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

    /// Returns the shortest time between two seals.
    pub(crate) fn pulse(&self) -> Duration {
        let viewers = self.context.viewers.load(Ordering::Relaxed);
        let readers = self.viewers.load(Ordering::Relaxed) + self.relays.load(Ordering::Relaxed);
        pulse(&self.context.settings, viewers, readers > 0)
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

    /// Moves sealed segments into the window.
    pub(crate) fn commit(&self, state: &mut WriteState) {
        if !state.writer.has_sealed() {
            return;
        }
        let tracks = state.writer.tracks();
        for segment in state.writer.sealed() {
            let (playable, _dropped_outside_of_the_lock) = {
                let mut window = self.window();
                let evicted = window.push(segment, tracks);
                (window.playable(), evicted)
            };
            if playable != state.playable {
                state.playable = playable;
                self.state.send_modify(|state| state.playable = playable);
            }
        }
        state.notification_due = true;
    }

    /// Seals the open segment and notifies readers.
    pub(crate) fn flush(&self, state: &mut WriteState) {
        state.writer.seal();
        self.commit(state);
        if std::mem::take(&mut state.notification_due) {
            self.notifiers.notify();
        }
    }

    /// Gives the stream to another publication, or to none. The former one is superseded.
    pub(crate) fn hand_over(&self, state: &mut WriteState, next: Option<ActivePublication>) {
        self.flush(state);
        let publication = next.as_ref().map(ActivePublication::info);
        let former = std::mem::replace(&mut state.publication, next);
        if let Some(former) = former {
            former.token.supersede();
        }
        state.idle_since = None;
        if let Some(PublicationInfo { epoch, source }) = publication {
            let mut window = self.window();
            let on_air = match source {
                PublicationSource::Encoder | PublicationSource::Forwarded => epoch,
                // The rest of a publication that is over can precede the one that an origin has.
                PublicationSource::Pulled => epoch.max(window.on_air()),
            };
            window.set_on_air(on_air);
            if source != PublicationSource::Encoder {
                window.resume();
            }
            state.playable = window.playable();
        }
        let playable = state.playable;
        self.state.send_modify(|state| {
            state.publication = publication;
            state.playable = playable;
        });
    }

    /// Names the epoch that an origin has on air, before a pull from it. Who joins gets no message of an earlier one.
    pub fn expect_epoch(&self, epoch: Epoch) {
        let mut state = self.write_state();
        let playable = {
            let mut window = self.window();
            window.set_on_air(epoch);
            window.playable()
        };
        state.playable = playable;
        self.state.send_modify(|state| state.playable = playable);
    }

    /// Ends the stream. Readers get the segments that are left.
    pub(crate) fn end(&self) {
        self.window().end_stream();
        self.state.send_modify(|state| state.ended = true);
        self.notifiers.notify();
    }

    pub(crate) fn reader_joined(&self, format: Format) {
        match format {
            Format::Relay => &self.relays,
            Format::Flv | Format::Rtmp => {
                self.context.viewers.fetch_add(1, Ordering::Relaxed);
                &self.viewers
            }
        }
        .fetch_add(1, Ordering::Relaxed);
        self.publish_reader_counts();
    }

    pub(crate) fn reader_left(&self, format: Format) {
        match format {
            Format::Relay => &self.relays,
            Format::Flv | Format::Rtmp => {
                self.context.viewers.fetch_sub(1, Ordering::Relaxed);
                &self.viewers
            }
        }
        .fetch_sub(1, Ordering::Relaxed);
        self.publish_reader_counts();
    }

    fn publish_reader_counts(&self) {
        // Loaded under the lock of the state, so that the last writer has the latest numbers.
        self.state.send_modify(|state| {
            state.viewers = self.viewers.load(Ordering::Relaxed);
            state.relays = self.relays.load(Ordering::Relaxed);
        });
    }

    pub(crate) fn reader_lagged(&self) {
        self.lags.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_published_by(&self, epoch: Epoch) -> bool {
        let publication = self.state.borrow().publication;
        publication.is_some_and(|publication| publication.epoch == epoch)
    }
}

/// Locks a mutex even if a former holder panicked: every statement that can panic leaves the data consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
