//! What a session keeps from one stream of its connection to the next.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::{AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::stream_rate::StreamRate;
use crate::state::admitted::Admitted;

/// A connection and its session's state. A stream that plays takes it along into a task of its own.
pub(super) struct SessionState {
    pub(super) connection: RtmpConnection,
    pub(super) context: Arc<RtmpContext>,
    /// Worker that serves the connection.
    pub(super) worker: usize,
    pub(super) rate: StreamRate,
    /// The latest time of the client's next request.
    pub(super) deadline: Instant,
    /// Continues the session after a stream has been played.
    pub(super) resume: fn(Self, Result<AfterStream, ConnectionLost>),
    #[expect(dead_code, reason = "it is kept only to be dropped with the session")]
    pub(super) admitted: Admitted,
}
