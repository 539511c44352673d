//! A log as the body of a message: to a node that pulls, and to an origin that a publish is forwarded to.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use media_engine::{Batch, Cursor, CursorEvent, PublicationSource, StreamState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::clients::{ClientGuard, StopReason};

/// Reads a log for as long as it is to be sent. hyper asks for more only while the peer takes it; a peer that does not
/// is outrun like any other reader.
pub(super) struct Outflow {
    cursor: Cursor,
    until: Until,
    client: Arc<ClientGuard>,
}

/// When what is in the log is the end.
pub(super) enum Until {
    /// The stream is not published here any more, or the client is let go.
    Unpublished(watch::Receiver<StreamState>),
    /// The encoder is gone, or the stream is forwarded elsewhere.
    Finished(CancellationToken),
    /// Now.
    Over,
}

impl Outflow {
    pub(super) fn new(cursor: Cursor, until: Until, client: Arc<ClientGuard>) -> Self {
        Self {
            cursor,
            until,
            client,
        }
    }

    pub(super) fn body<E: 'static>(self) -> UnsyncBoxBody<Bytes, E> {
        let frames = unfold(self, |mut outflow| async move {
            let batch = outflow.next().await?;
            let bytes = outflow.flat(batch);
            Some((Ok(Frame::data(bytes)), outflow))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Batch> {
        loop {
            if self.until.is_over() {
                return batch(self.cursor.try_next()?);
            }
            tokio::select! {
                next = self.cursor.next() => return batch(next),
                () = self.until.changed(&self.client) => {}
            }
        }
    }

    /// One copy of a segment for each node, not for each viewer: cheaper than the head of every chunk in between.
    fn flat(&self, mut batch: Batch) -> Bytes {
        self.client.sent(batch.len());
        if batch.lagged {
            self.client.lagged();
        }
        batch.copy_to_bytes(batch.remaining())
    }
}

impl Until {
    fn is_over(&mut self) -> bool {
        match self {
            Self::Unpublished(states) => !is_published(&states.borrow_and_update()),
            Self::Finished(finished) => finished.is_cancelled(),
            Self::Over => true,
        }
    }

    async fn changed(&mut self, client: &ClientGuard) {
        match self {
            Self::Unpublished(states) => tokio::select! {
                // The sender lives as long as the stream, which the cursor holds.
                _ = states.changed() => {}
                reason = client.stopped() => match reason {
                    // A leaving node serves the others for as long as it has what they pull.
                    StopReason::Draining => {}
                    StopReason::Kicked | StopReason::Now => *self = Self::Over,
                },
            },
            Self::Finished(finished) => finished.cancelled().await,
            Self::Over => {}
        }
    }
}

/// Whether other nodes may pull the stream from here: copies are never passed on, so that there are no loops.
pub(super) fn is_published(state: &StreamState) -> bool {
    state
        .publication
        .as_ref()
        .is_some_and(|publication| publication.source != PublicationSource::Pulled)
}

fn batch(next: CursorEvent) -> Option<Batch> {
    match next {
        CursorEvent::Batch(batch) => Some(batch),
        CursorEvent::Ended => None,
    }
}
