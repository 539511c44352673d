//! What an engine is told at its start.

use std::time::Duration;

/// How all streams of a [`Registry`](crate::Registry) behave.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Span of media that a log keeps beside the newest group of pictures, for viewers that fall behind.
    pub window: Duration,
    /// Bytes that a log keeps at most. A group of pictures that is longer cannot be joined: new viewers wait for the
    /// next keyframe.
    pub window_max_bytes: usize,
    /// Time that viewers wait for a publisher that is gone.
    pub continuity: Duration,
    /// Time that each viewer of the node adds to the pulse; zero seals every message.
    pub pulse_per_viewer: Duration,
    /// The longest pulse.
    pub pulse_max: Duration,
    /// Streams that may be published, and streams that may be wanted, at one time.
    pub max_streams: usize,
    /// Threads that serve viewers: each has its own bell in each stream.
    pub workers: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            window_max_bytes: 32 << 20,
            continuity: Duration::from_secs(30),
            pulse_per_viewer: Duration::from_micros(20),
            pulse_max: Duration::from_millis(100),
            max_streams: 1_000,
            workers: 1,
        }
    }
}
