//! The memory that media nodes have for media.

use std::time::Duration;

use super::SimulatedCluster;

/// Time in which logs are shortened: the sweep of all streams, and the next segments.
const SHORTENED: Duration = Duration::from_secs(3);

/// More than all logs need.
const AMPLE: usize = 256 << 20;

/// Too little memory for a window.
pub(super) struct ShortMemory {
    bytes: usize,
    since: Duration,
}

impl SimulatedCluster {
    /// Leaves a media node so much memory for media, or more than it needs. If `applies`, it learns of that.
    pub(in super::super) fn limit_memory(
        &mut self,
        number: usize,
        bytes: Option<usize>,
        applies: bool,
    ) {
        let since = self.network.now();
        if let Some(process) = &mut self.nodes[number].process
            && (bytes.is_some() || process.short_memory.is_some())
        {
            process.short_memory = bytes.map(|bytes| ShortMemory { bytes, since });
            if applies {
                let limit = || process.probe.limit_memory(bytes.unwrap_or(AMPLE));
                process.runtime.block_on(async { limit() });
            }
        }
    }

    /// Returns the memory for media of a media node, once its logs have to fit.
    pub(in super::super) fn memory_limit(&self, number: usize) -> Option<usize> {
        let process = self.nodes[number].process.as_ref()?;
        let short = process.short_memory.as_ref().filter(|_| !process.is_hung)?;
        let has_hung_until = process.hung_until.max(short.since);
        (self.network.now() >= has_hung_until + SHORTENED).then_some(short.bytes)
    }
}
