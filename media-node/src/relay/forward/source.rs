//! The publication that is forwarded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use media_engine::{Start, Stream};
use media_wire::relay::Epoch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::context::RelayContext;
use super::super::survey::OriginStatus;
use super::former_origins::FormerOrigins;
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
    /// The origins that have had the publication.
    pub(super) former: Arc<FormerOrigins>,
    pub(super) predecessor: Predecessor,
    /// The worker that runs the task.
    pub(super) worker: usize,
    /// When the publication started.
    pub(super) start: Instant,
    /// The encoder disconnected.
    pub(super) ended: CancellationToken,
}

/// The origin that had the publication before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predecessor {
    None,
    /// It is lost.
    Lost,
    /// It has the publication until the next one has all of it.
    Draining,
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

    /// Takes the status of an origin that has the publication.
    pub(super) fn observe(&self, status: &OriginStatus) {
        let log = self.context.settings.stream.window();
        self.former.observe(status.origin, &status.publication, log);
    }

    /// Returns where an origin starts that has this status: after the messages that it has. One that has none replaces another one, and
    /// begins with what viewers lack, as the path may be too slow for all of the log in between. Returns `None` if it is to be
    /// asked once more, for up to `patience`, because that is not known yet.
    pub(super) fn start(&self, status: &OriginStatus, patience: Duration) -> Option<Start> {
        if status.epoch() == self.epoch {
            return Some(Start::Resume(self.epoch, status.publication.sequence));
        }
        let (age, window) = (self.start.elapsed(), self.context.settings.stream.window());
        let all = if age < window {
            Start::At(self.epoch, 0)
        } else {
            // Earlier publications have left the log.
            Start::Oldest
        };
        // Those who waited for the publication get it from its first message.
        let is_awaited = age < window.min(self.context.timeouts().pull.from_start);
        let needed = status.publication.needed;
        let Some(needed) = needed.filter(|_| !is_awaited && !self.former.is_empty()) else {
            return Some(all);
        };
        match self.former.first_needed(status.origin, needed) {
            Some(first) => Some(Start::Before(self.epoch, first)),
            None => patience.is_zero().then_some(all),
        }
    }
}
