//! Why the delivery to a viewer ends.

use tracing::debug;

use crate::state::clients::{Client, StopReason};
use crate::state::metrics::Metrics;

/// Reason that delivery to a viewer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewerEnd {
    /// The stream ended.
    StreamEnded,
    /// The viewer paused the stream.
    Paused,
    /// The viewer ended the stream and may use the connection again.
    Stopped,
    /// The viewer has received as much as it has asked for, and may use the connection again.
    Completed,
    /// The viewer closed the connection.
    Closed,
    /// The viewer accepted no byte for too long.
    Stalled,
    /// The media node disconnects the viewer.
    Disconnected(StopReason),
    /// The media node disconnects the viewer, which has received only a part of a batch. The viewer would read further
    /// bytes as the rest of it.
    DisconnectedMidMessage(StopReason),
    /// The stream's timestamps begin again, and the viewer's player cannot go back.
    TimelineRenewed,
    /// The viewer violated its protocol.
    ProtocolError,
}

impl ViewerEnd {
    /// Returns whether no more bytes may be sent on the connection.
    pub(crate) fn is_abrupt(self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Stalled | Self::DisconnectedMidMessage(_)
        )
    }
}

/// Logs and counts the end of a viewer's stream.
pub(crate) fn record_end(metrics: &Metrics, client: &Client, end: ViewerEnd) {
    let counters = client.counters();
    if end == ViewerEnd::Stalled {
        metrics.viewers.stalled.inc();
    }
    debug!(stream = %client.stream, ?end, sent = counters.sent, lags = counters.lags, "play ended");
}
