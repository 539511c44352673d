//! The one writer of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use media_wire::relay::Epoch;
use media_wire::{MediaKind, Message, StreamKey};
use tokio::sync::Notify;

use crate::pulse::due;
use crate::stream::{PublicationInfo, PublicationSource, Stream, Writing};
use crate::writer::Appended;

/// The right to write a stream. Dropped, the stream waits for another one.
///
/// # Guarantees
/// Messages are in the log in the order of the calls. Whoever takes the stream over finds all of them there; nothing is
/// written after that.
#[derive(Debug)]
pub struct Publication {
    stream: Arc<Stream>,
    ticket: Arc<Ticket>,
    epoch: Epoch,
    source: PublicationSource,
}

/// Who writes now.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) epoch: Epoch,
    pub(crate) source: PublicationSource,
    pub(crate) since: Instant,
}

impl Holder {
    pub(crate) fn info(&self) -> PublicationInfo {
        PublicationInfo {
            epoch: self.epoch,
            source: self.source,
        }
    }
}

/// Tells a publication that it is over.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    superseded: AtomicBool,
    bell: Notify,
}

impl Ticket {
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }
}

impl Publication {
    pub(crate) fn new(
        stream: Arc<Stream>,
        ticket: Arc<Ticket>,
        epoch: Epoch,
        source: PublicationSource,
    ) -> Self {
        Self {
            stream,
            ticket,
            epoch,
            source,
        }
    }

    /// When the encoder connected. An encoder's own publication is always later than all that this node has heard
    /// of its stream, whatever the clocks say.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How the messages come here.
    pub fn source(&self) -> PublicationSource {
        self.source
    }

    /// The name of the stream.
    pub fn key(&self) -> &StreamKey {
        self.stream.key()
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Appends an encoder's message. Its timestamp may wrap, jump or begin again.
    pub fn append(&mut self, message: Message) -> Appended {
        let epoch = self.epoch;
        self.write(|writing| writing.writer.append(epoch, message))
    }

    /// Appends a message of another node's log: each sequence once, and after a gap no video before a keyframe.
    pub fn append_at(
        &mut self,
        sequence: u64,
        source_timestamp: u32,
        kind: MediaKind,
        payload: Bytes,
    ) -> Appended {
        let epoch = self.epoch;
        let message = Message {
            kind,
            timestamp: source_timestamp,
            payload,
        };
        self.write(|writing| writing.writer.append_at(epoch, sequence, message))
    }

    /// Shows readers what is due. To be called after the messages of each read, and at the instant returned.
    pub fn pulse(&mut self, now: Instant) -> Option<Instant> {
        let mut writing = self.stream.writing();
        self.current(&mut writing)?;
        if !writing.unrung && !writing.writer.is_open() {
            return None;
        }
        let due = due(writing.last_seal, self.stream.pulse(), now);
        if due > now && !writing.is_urgent() {
            return Some(due);
        }
        writing.last_seal = Some(now);
        self.stream.flush(&mut writing);
        None
    }

    /// Whether another publisher has the stream.
    pub fn is_superseded(&self) -> bool {
        self.ticket.superseded.load(Ordering::Acquire)
    }

    /// Completes when another publisher has the stream. May be dropped and called again.
    pub fn superseded(&self) -> impl Future<Output = ()> + Send + use<> {
        let ticket = Arc::clone(&self.ticket);
        async move {
            loop {
                let rung = ticket.bell.notified();
                if ticket.superseded.load(Ordering::Acquire) {
                    return;
                }
                rung.await;
            }
        }
    }

    fn write(&mut self, append: impl FnOnce(&mut Writing) -> Appended) -> Appended {
        let mut writing = self.stream.writing();
        if self.current(&mut writing).is_none() {
            return Appended::Superseded;
        }
        let appended = append(&mut writing);
        self.stream.commit(&mut writing);
        appended
    }

    /// The holder, if it is still this publication.
    fn current<'a>(&self, writing: &'a mut Writing) -> Option<&'a mut Holder> {
        let holder = writing.holder.as_mut()?;
        Arc::ptr_eq(&holder.ticket, &self.ticket).then_some(holder)
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let mut writing = self.stream.writing();
        if self.current(&mut writing).is_some() {
            self.stream.hand_over(&mut writing, None);
        }
    }
}
