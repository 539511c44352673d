//! A live stream: its log, its publisher if there is one, and its readers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media_wire::relay::Epoch;
use media_wire::{Codec, StreamKey};
use tokio::sync::watch;

use crate::bell::Bells;
use crate::cursor::{Cursor, Format, Start};
use crate::publication::Holder;
use crate::pulse::pulse;
use crate::settings::EngineSettings;
use crate::window::Window;
use crate::writer::Writer;

/// What all streams of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    /// Viewers of all streams together.
    pub(crate) viewers: AtomicUsize,
}

/// A live stream. It is there as soon as somebody wants it; it has a publisher or waits for one.
#[derive(Debug)]
pub struct Stream {
    key: StreamKey,
    shared: Arc<Shared>,
    /// Locked before `window` where both are needed.
    writing: Mutex<Writing>,
    window: Mutex<Window>,
    bells: Bells,
    viewers: AtomicUsize,
    relays: AtomicUsize,
    lags: AtomicU64,
    state: watch::Sender<StreamState>,
}

/// Who writes, and what was written but not yet told.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    pub(crate) writer: Writer,
    pub(crate) holder: Option<Holder>,
    pub(crate) last_seal: Option<Instant>,
    /// Segments are in the window that no bell was rung for.
    pub(crate) unrung: bool,
    /// Since when there is no publisher; set by the first sweep that sees it.
    pub(crate) idle_since: Option<Instant>,
    playable: bool,
}

impl Writing {
    /// Whether what waits goes out before its time: a keyframe sealed the segment before it, and both go together;
    /// or it is the keyframe that viewers wait for.
    pub(crate) fn is_urgent(&self) -> bool {
        self.unrung || (!self.playable && self.writer.opens_with_keyframe())
    }
}

/// What a stream is now. [`Stream::watch`] tells of every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The publisher.
    pub publication: Option<PublicationInfo>,
    /// Readers of FLV and RTMP.
    pub viewers: usize,
    /// Readers of [`Format::Relay`].
    pub relays: usize,
    /// A viewer would get something now: the tracks are known, and there is a place to start.
    pub playable: bool,
    /// It will have no publisher any more; another stream may have its key.
    pub ended: bool,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationInfo {
    /// When the encoder connected, wherever that was.
    pub epoch: Epoch,
    /// How the messages come here.
    pub source: PublicationSource,
}

/// How a publication's messages come to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationSource {
    /// From an encoder.
    Encoder,
    /// From the node that has the encoder.
    Forwarded,
    /// From a node that has the publication: this one has a copy.
    Pulled,
}

/// Numbers of a stream since it is there.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Messages in the log.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes_in: u64,
    /// How often a viewer or relay lagged behind the log and jumped to a keyframe.
    pub lags: u64,
    /// How often messages of an upstream were missing.
    pub gaps: u64,
    /// How many messages these were.
    pub missing: u64,
    /// How often an encoder's timestamps jumped.
    pub jumps: u64,
    /// When the publisher came.
    pub started: Option<Instant>,
    /// Epoch of the last message, and the sequence after it.
    pub position: Option<(Epoch, u64)>,
    /// The codec of the video.
    pub video: Option<Codec>,
    /// The codec of the audio.
    pub audio: Option<Codec>,
    /// Width of the picture, as the metadata has it.
    pub width: Option<u32>,
    /// Height of the picture, as the metadata has it.
    pub height: Option<u32>,
    /// The latest timestamp in the log, in milliseconds.
    pub last_timestamp: Option<u32>,
    /// Segments in the log.
    pub window_segments: usize,
    /// Bytes in the log.
    pub window_bytes: usize,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, shared: Arc<Shared>) -> Self {
        let settings = &shared.settings;
        Self {
            key,
            window: Mutex::new(Window::new(settings.window, settings.window_max_bytes)),
            bells: Bells::new(settings.workers),
            shared,
            writing: Mutex::default(),
            viewers: AtomicUsize::new(0),
            relays: AtomicUsize::new(0),
            lags: AtomicU64::new(0),
            state: watch::Sender::default(),
        }
    }

    /// What it is called.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// What it is now.
    pub fn state(&self) -> StreamState {
        self.state.borrow().clone()
    }

    /// What it is now and will be.
    pub fn watch(&self) -> watch::Receiver<StreamState> {
        self.state.subscribe()
    }

    /// Epoch of the last message and the sequence after it: what a relay that takes over has to start at.
    pub fn position(&self) -> Option<(Epoch, u64)> {
        self.writing().writer.position()
    }

    /// Begins to read. `worker` is the one whose bell wakes the cursor.
    pub fn subscribe(self: &Arc<Self>, format: Format, start: Start, worker: usize) -> Cursor {
        Cursor::new(Arc::clone(self), format, start, worker)
    }

    /// Its numbers.
    pub fn stats(&self) -> StreamStats {
        let mut stats = {
            let writing = self.writing();
            let counters = writing.writer.counters();
            let seen = writing.writer.seen();
            StreamStats {
                messages: counters.messages,
                bytes_in: counters.bytes,
                lags: self.lags.load(Ordering::Relaxed),
                gaps: counters.gaps,
                missing: counters.missing,
                jumps: writing.writer.jumps(),
                started: writing.holder.as_ref().map(|holder| holder.since),
                position: writing.writer.position(),
                video: seen.video,
                audio: seen.audio,
                width: seen.metadata.width,
                height: seen.metadata.height,
                last_timestamp: writing.writer.last_timestamp(),
                ..StreamStats::default()
            }
        };
        let window = self.window();
        stats.window_segments = window.len();
        stats.window_bytes = window.bytes();
        stats
    }

    /// The shortest time between two seals.
    pub(crate) fn pulse(&self) -> Duration {
        let viewers = self.shared.viewers.load(Ordering::Relaxed);
        let readers = self.viewers.load(Ordering::Relaxed) + self.relays.load(Ordering::Relaxed);
        pulse(&self.shared.settings, viewers, readers > 0)
    }

    pub(crate) fn bells(&self) -> &Bells {
        &self.bells
    }

    pub(crate) fn writing(&self) -> MutexGuard<'_, Writing> {
        lock(&self.writing)
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Moves what was sealed into the window.
    pub(crate) fn commit(&self, writing: &mut Writing) {
        if !writing.writer.has_sealed() {
            return;
        }
        let tracks = writing.writer.tracks();
        for segment in writing.writer.sealed() {
            let (playable, _dropped_outside_of_the_lock) = {
                let mut window = self.window();
                let evicted = window.push(segment, tracks);
                (window.playable(), evicted)
            };
            if playable != writing.playable {
                writing.playable = playable;
                self.state.send_modify(|state| state.playable = playable);
            }
        }
        writing.unrung = true;
    }

    /// Seals what is open and rings.
    pub(crate) fn flush(&self, writing: &mut Writing) {
        writing.writer.seal();
        self.commit(writing);
        if std::mem::take(&mut writing.unrung) {
            self.bells.ring();
        }
    }

    /// Gives the stream to another publisher, or to none; the one before is told.
    pub(crate) fn hand_over(&self, writing: &mut Writing, holder: Option<Holder>) {
        self.flush(writing);
        let publication = holder.as_ref().map(Holder::info);
        let former = std::mem::replace(&mut writing.holder, holder);
        if let Some(former) = former {
            former.ticket.supersede();
        }
        writing.idle_since = None;
        self.state
            .send_modify(|state| state.publication = publication);
    }

    /// Readers get what is left, and then no more.
    pub(crate) fn end(&self) {
        self.window().end_stream();
        self.state.send_modify(|state| state.ended = true);
        self.bells.ring();
    }

    pub(crate) fn reader_came(&self, format: Format) {
        match format {
            Format::Relay => &self.relays,
            Format::Flv | Format::Rtmp => {
                self.shared.viewers.fetch_add(1, Ordering::Relaxed);
                &self.viewers
            }
        }
        .fetch_add(1, Ordering::Relaxed);
        self.tell_readers();
    }

    pub(crate) fn reader_left(&self, format: Format) {
        match format {
            Format::Relay => &self.relays,
            Format::Flv | Format::Rtmp => {
                self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
                &self.viewers
            }
        }
        .fetch_sub(1, Ordering::Relaxed);
        self.tell_readers();
    }

    fn tell_readers(&self) {
        // Read under the lock of the state: the last to write it writes the latest numbers.
        self.state.send_modify(|state| {
            state.viewers = self.viewers.load(Ordering::Relaxed);
            state.relays = self.relays.load(Ordering::Relaxed);
        });
    }

    pub(crate) fn is_published_by(&self, epoch: Epoch) -> bool {
        let publication = self.state.borrow().publication;
        publication.is_some_and(|publication| publication.epoch == epoch)
    }

    pub(crate) fn reader_lagged(&self) {
        self.lags.fetch_add(1, Ordering::Relaxed);
    }
}

/// A lock whose former holder panicked is taken all the same: the data behind it is whole after every statement
/// that could.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
