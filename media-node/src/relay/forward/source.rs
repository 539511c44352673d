//! The publication that is forwarded.

use std::net::IpAddr;
use std::sync::Arc;

use media_engine::{Start, Stream};
use media_wire::relay::Epoch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::context::RelayContext;
use super::heartbeat::Heartbeats;

/// A publication on an edge. Clones share it.
#[derive(Clone)]
pub(super) struct ForwardSource {
    pub(super) context: Arc<RelayContext>,
    pub(super) heartbeats: Heartbeats,
    pub(super) stream: Arc<Stream>,
    pub(super) epoch: Epoch,
    pub(super) priority: u8,
    /// Address of the encoder.
    pub(super) address: IpAddr,
    /// Another origin has had the publication.
    pub(super) is_resumed: bool,
    /// The worker that runs the task.
    pub(super) worker: usize,
    /// When the publication started.
    pub(super) start: Instant,
    /// The encoder disconnected.
    pub(super) ended: CancellationToken,
}

impl ForwardSource {
    /// Returns the sequence of the encoder's next message.
    pub(super) fn next_sequence(&self) -> Option<u64> {
        let position = self
            .stream
            .position()
            .filter(|(epoch, _)| *epoch == self.epoch);
        position.map(|(_, next)| next)
    }

    /// Returns where an origin starts that has nothing of the publication: with all that the log has of it.
    pub(super) fn first_message(&self) -> Start {
        if self.start.elapsed() < self.context.settings.stream.window() {
            Start::At(self.epoch, 0)
        } else {
            // Earlier publications have left the log.
            Start::Oldest
        }
    }
}
