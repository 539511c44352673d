//! Metrics of the memory for media.

use media_engine::MemoryStats;
use prometheus::{IntCounter, IntGauge};

use super::registration::Registration;

/// Metrics of the memory for media.
pub(crate) struct MemoryMetrics {
    used: IntGauge,
    limit: IntGauge,
    pressure: IntGauge,
    evicted_early: IntCounter,
    ended: IntCounter,
}

impl MemoryMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        Self {
            used: new.gauge(
                "live_media_memory_bytes",
                "Memory for media: what all streams buffer, and incomplete messages of publishers.",
            ),
            limit: new.gauge(
                "live_media_memory_limit_bytes",
                "Maximum of live_media_memory_bytes, see limits.maxMediaMebibytes.",
            ),
            pressure: new.gauge(
                "live_memory_pressure",
                "1 while streams buffer less than configured, or publishers are refused, because memory is short, else 0.",
            ),
            ended: new.counter(
                "live_streams_ended_for_memory_total",
                "Streams that were ended, because the groups of pictures of all streams did not fit into the memory for media.",
            ),
            evicted_early: new.counter(
                "live_segments_evicted_early_total",
                "Segments that streams buffered for less time than configured, because memory was short.",
            ),
        }
    }

    pub(super) fn set(&self, memory: &MemoryStats) {
        super::set(&self.used, memory.used);
        super::set(&self.limit, memory.limit);
        self.pressure.set(i64::from(memory.pressure));
        super::raise(&self.evicted_early, memory.evicted_early);
        super::raise(&self.ended, memory.ended);
    }
}
