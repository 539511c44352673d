//! The publication that writes a stream, and the token that notifies it when another one takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use media_wire::relay::Epoch;
use tokio::sync::Notify;

use crate::media_memory::OutOfMemory;
use crate::stream_state::{PublicationInfo, PublicationSource};

/// The publication that writes a stream.
#[derive(Debug)]
pub(crate) struct ActivePublication {
    pub(crate) token: Arc<PublicationToken>,
    pub(crate) epoch: Epoch,
    pub(crate) source: PublicationSource,
    pub(crate) priority: u8,
    pub(crate) started: Instant,
    /// The time of the last pulse that found a new message in the log.
    pub(crate) last_message: Instant,
    /// The number of messages that the log had at that pulse.
    pub(crate) messages: u64,
}

impl ActivePublication {
    pub(crate) fn info(&self) -> PublicationInfo {
        PublicationInfo {
            epoch: self.epoch,
            source: self.source,
            priority: self.priority,
        }
    }

    /// Records the number of messages in the log.
    pub(crate) fn observe(&mut self, messages: u64, now: Instant) {
        if messages > self.messages {
            self.messages = messages;
            self.last_message = now;
        }
    }
}

/// The identity of a publication. It reports when the publication is superseded.
#[derive(Debug, Default)]
pub(crate) struct PublicationToken {
    superseded: AtomicBool,
    /// Why no other publication has taken over.
    refused: OnceLock<OutOfMemory>,
    notify: Notify,
}

impl PublicationToken {
    /// Sets the error for which the publication is going to end, instead of being taken over.
    pub(crate) fn refuse(&self, error: OutOfMemory) {
        self.refused.get_or_init(|| error);
    }

    pub(crate) fn refused(&self) -> Option<OutOfMemory> {
        self.refused.get().copied()
    }

    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Completes when the publication is superseded.
    pub(crate) async fn superseded(&self) {
        loop {
            let notified = self.notify.notified();
            if self.superseded.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
