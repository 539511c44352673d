//! A stream's log as an HTTP body: in the response to a pull, and in the request that forwards a publication.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use media_engine::{Batch, Cursor, CursorEvent, StreamState};
use media_wire::relay::{Epoch, Mark};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::is_published;
use super::served_pulls::ServedPull;
use crate::state::clients::{ClientGuard, StopReason};

/// A reader of a log, until its end condition. hyper polls it only while the peer accepts bytes; a slow peer lags like
/// any other reader.
pub(super) struct RelayBody {
    cursor: Cursor,
    end: EndCondition,
    client: Arc<ClientGuard>,
    _served: Option<ServedPull>,
}

/// When the body ends. The messages that are in the log by then are still sent.
pub(super) enum EndCondition {
    /// The stream is no longer published here, or the client is disconnected.
    Unpublished(watch::Receiver<StreamState>),
    /// The encoder of the publication with this epoch disconnected, or the stream is forwarded to another origin.
    Finished(CancellationToken, Epoch),
    /// It is reached.
    Reached,
}

impl RelayBody {
    pub(super) fn new(cursor: Cursor, end: EndCondition, client: Arc<ClientGuard>) -> Self {
        Self {
            cursor,
            end,
            client,
            _served: None,
        }
    }

    /// Makes the body the response to a pull.
    pub(super) fn serving(self, pull: ServedPull) -> Self {
        Self {
            _served: Some(pull),
            ..self
        }
    }

    pub(super) fn boxed<E: 'static>(self) -> UnsyncBoxBody<Bytes, E> {
        let frames = unfold(Some(self), |body| async move {
            let mut body = body?;
            let (bytes, body) = match body.next().await {
                Some(batch) => (body.contiguous(batch), Some(body)),
                None => (body.successor()?, None),
            };
            Some((Ok(Frame::data(bytes)), body))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Batch> {
        loop {
            if self.end.is_reached() {
                return batch(self.cursor.try_next()?);
            }
            tokio::select! {
                next = self.cursor.next() => return batch(next),
                () = self.end.changed(&self.client) => {}
            }
        }
    }

    /// Returns the mark of the publication that has superseded a forwarded one here: it follows in another request.
    fn successor(&self) -> Option<Bytes> {
        let EndCondition::Finished(_, former) = self.end else {
            return None;
        };
        let publication = self.cursor.stream().state().publication?;
        let follows = publication.epoch > former && !publication.source.is_copy();
        let mark = Mark {
            epoch: publication.epoch,
            sequence: 0,
            shift: 0,
        };
        follows.then(|| mark.encode())
    }

    /// Copies a segment into one buffer. A media node gets one copy for all of its viewers, which is cheaper than an HTTP
    /// chunk for each part.
    fn contiguous(&self, mut batch: Batch) -> Bytes {
        self.client.sent(batch.len());
        if batch.lagged {
            self.client.lagged();
        }
        batch.copy_to_bytes(batch.remaining())
    }
}

impl EndCondition {
    fn is_reached(&mut self) -> bool {
        match self {
            Self::Unpublished(states) => !is_published(&states.borrow_and_update()),
            Self::Finished(finished, _) => finished.is_cancelled(),
            Self::Reached => true,
        }
    }

    async fn changed(&mut self, client: &ClientGuard) {
        match self {
            Self::Unpublished(states) => tokio::select! {
                // The sender lives as long as the stream, which the cursor holds.
                _ = states.changed() => {}
                reason = client.stopped() => match reason {
                    // A draining media node serves other media nodes until the publication ends.
                    StopReason::Draining => {}
                    StopReason::Kicked | StopReason::Now => *self = Self::Reached,
                },
            },
            Self::Finished(finished, _) => finished.cancelled().await,
            Self::Reached => {}
        }
    }
}

fn batch(next: CursorEvent) -> Option<Batch> {
    match next {
        CursorEvent::Batch(batch) => Some(batch),
        CursorEvent::Ended => None,
    }
}
