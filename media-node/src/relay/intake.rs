//! The intake of a relay stream: from the bytes that another media node sends into the log.

use std::future::pending;

use bytes::Bytes;
use media_engine::{IncompleteMessages, Publication};
use media_wire::relay::{Epoch, RelayError, RelayItem, RelayReader};
use tokio::time::{Instant, sleep_until};

use super::context::RelayContext;

/// A relay stream and the publication that gets its messages.
pub(super) struct Intake {
    reader: RelayReader,
    incomplete: IncompleteMessages,
    publication: Option<Publication>,
    /// The messages belong to an earlier publication, and are dropped.
    skipping: bool,
    /// When the engine is to seal next.
    pulse: Option<Instant>,
    messages: u64,
}

impl Intake {
    /// Returns an intake without a publication. Messages are dropped until it has one.
    pub(super) fn new(context: &RelayContext) -> Self {
        Self {
            reader: RelayReader::new(context.settings.limits.get().max_message_bytes()),
            incomplete: context.registry.incomplete_messages(),
            publication: None,
            skipping: false,
            pulse: None,
            messages: 0,
        }
    }

    /// Appends the messages that follow to `publication`.
    pub(super) fn append_to(&mut self, publication: Publication) {
        self.publication = Some(publication);
    }

    /// Drops the messages that follow, or appends them again.
    pub(super) fn skip(&mut self, skip: bool) {
        self.skipping = skip;
    }

    pub(super) fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// Returns the number of messages that were appended.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Adds bytes of the stream. Call [`Intake::append`] until it returns `None` before the next call.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.reader.feed(bytes);
    }

    /// Appends messages up to the next change of the epoch. Returns the new epoch, or `None` when more bytes are needed.
    pub(super) fn append(&mut self) -> Result<Option<Epoch>, RelayError> {
        loop {
            match self.reader.receive()? {
                None => {
                    self.incomplete.count(self.reader.reserved());
                    self.seal();
                    return Ok(None);
                }
                Some(RelayItem::Epoch(epoch)) => return Ok(Some(epoch)),
                Some(RelayItem::Message {
                    sequence,
                    kind,
                    timestamp,
                    payload,
                }) => {
                    if let Some(publication) = &mut self.publication
                        && !self.skipping
                    {
                        publication.append_at(sequence, timestamp, kind, payload);
                        self.messages += 1;
                    }
                }
            }
        }
    }

    /// Lets the engine seal what is due.
    pub(super) fn seal(&mut self) {
        let now = Instant::now().into_std();
        let publication = self.publication.as_mut();
        let due = publication.and_then(|publication| publication.pulse(now));
        self.pulse = due.map(Instant::from_std);
    }

    /// Waits until [`Intake::seal`] is due.
    pub(super) async fn seal_due(&self) {
        match self.pulse {
            Some(pulse) => sleep_until(pulse).await,
            None => pending().await,
        }
    }

    /// Waits until the publication is superseded.
    pub(super) async fn superseded(&self) {
        match &self.publication {
            Some(publication) => publication.superseded().await,
            None => pending().await,
        }
    }
}
