//! The settings of an engine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The settings of all streams of a [`Registry`](crate::Registry).
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Media time that a log keeps in addition to the newest group of pictures, for viewers that fall behind.
    pub window: Duration,
    /// Maximum bytes of a log. New viewers cannot join a longer group of pictures: they wait for the next keyframe.
    pub window_max_bytes: usize,
    /// Maximum bytes of the logs of all streams together, and of the incomplete messages of publishers.
    pub media_memory_bytes: usize,
    /// Time that viewers wait for a publisher to return.
    pub continuity: Duration,
    /// The shortest pulse of a worker.
    pub pulse_min: Duration,
    /// The longest pulse of a worker, and of a stream without readers. It prevails over the shortest one. Zero seals every
    /// message.
    pub pulse_max: Duration,
    /// The share of a worker's time up to which its pulse is the shortest. Above 0, at most 1.
    pub pulse_ceiling: f64,
    /// Maximum number of streams with a publisher, and of streams with readers only. It may change later.
    pub max_streams: usize,
    /// Limits of init data. They may change later.
    pub init_data: InitDataLimits,
    /// Threads that serve viewers. Each has its own pulse, and its own notifier in each stream.
    pub workers: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            window_max_bytes: 32 << 20,
            media_memory_bytes: usize::MAX,
            continuity: Duration::from_secs(30),
            pulse_min: Duration::ZERO,
            pulse_max: Duration::from_millis(350),
            pulse_ceiling: 0.8,
            max_streams: 1_000,
            init_data: InitDataLimits::default(),
            workers: 1,
        }
    }
}

/// Limits of the metadata and sequence headers of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitDataLimits {
    /// Maximum bytes of a message.
    pub message_bytes: usize,
    /// Maximum number of messages. Further ones do not reach viewers that join later. Without a limit a publisher could fill
    /// memory with tracks that it makes up.
    pub messages: usize,
}

impl Default for InitDataLimits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 10,
            messages: 16,
        }
    }
}

/// The settings that change while streams exist.
#[derive(Debug)]
pub(crate) struct EngineLimits {
    max_streams: AtomicUsize,
    init_message_bytes: AtomicUsize,
    init_messages: AtomicUsize,
}

impl EngineLimits {
    pub(crate) fn new(settings: &EngineSettings) -> Self {
        Self {
            max_streams: AtomicUsize::new(settings.max_streams),
            init_message_bytes: AtomicUsize::new(settings.init_data.message_bytes),
            init_messages: AtomicUsize::new(settings.init_data.messages),
        }
    }

    pub(crate) fn set(&self, max_streams: usize, init_data: InitDataLimits) {
        self.max_streams.store(max_streams, Ordering::Relaxed);
        let (bytes, messages) = (&self.init_message_bytes, &self.init_messages);
        bytes.store(init_data.message_bytes, Ordering::Relaxed);
        messages.store(init_data.messages, Ordering::Relaxed);
    }

    pub(crate) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed)
    }

    pub(crate) fn init_data(&self) -> InitDataLimits {
        InitDataLimits {
            message_bytes: self.init_message_bytes.load(Ordering::Relaxed),
            messages: self.init_messages.load(Ordering::Relaxed),
        }
    }
}
