//! Waits of a media node that its configuration does not set.

use std::time::Duration;

use crate::auth::KeySetTimings;

/// Waits of a media node that its configuration does not set. Tests choose others, so that their outcome does not depend on
/// the speed of the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timings {
    /// Share of `drain.timeoutSeconds`, 0 to 1 and at its end, in which clients are disconnected one after another. All at the same time
    /// would overload the media nodes that they reconnect to.
    pub disconnect_share: f64,
    /// Share of that time, 0 to 1 and at its end, in which no further client is disconnected, so that the last ones reach a keyframe.
    pub last_keyframe_share: f64,
    /// The shortest such time, if the media node has twice as much after it has closed its ports: an encoder leaves at its second keyframe.
    pub last_groups: Duration,
    /// Time for clients that are disconnected at the deadline to receive their last bytes, and for an encoder that is requested to end
    /// to send its own.
    pub last_bytes: Duration,
    /// Time that a peer of the internal port may take to send the header section of a request.
    pub internal_header_timeout: Duration,
    /// Interval at which mounted keys, certificates and live settings are read again, and clients whose key is gone are disconnected.
    pub key_poll: Duration,
    /// Time without silence after which an encoder that stands by replaces one with a lower priority.
    pub standby_steady: Duration,
    /// Intervals at which JSON Web Key Sets are fetched from their addresses.
    pub key_set: KeySetTimings,
    /// Interval at which it is recorded how far each viewer is behind live.
    pub lag_sample: Duration,
    /// Interval at which the container's memory is read. Viewers that join many streams fill it within seconds.
    pub memory_poll: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            disconnect_share: 0.3,
            last_keyframe_share: 0.2,
            last_groups: Duration::from_secs(4),
            last_bytes: Duration::from_millis(500),
            internal_header_timeout: Duration::from_secs(10),
            // The kubelet takes most of the minute within which a changed Secret takes effect.
            key_poll: Duration::from_secs(5),
            standby_steady: Duration::from_secs(10),
            key_set: KeySetTimings::default(),
            lag_sample: Duration::from_secs(5),
            memory_poll: Duration::from_millis(250),
        }
    }
}
