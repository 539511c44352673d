//! The publication: the one writer of a stream.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media_wire::relay::Epoch;
use media_wire::{MediaKind, Message, StreamKey};

use crate::active_publication::{ActivePublication, PublicationToken};
use crate::init_data::InitData;
use crate::media_memory::OutOfMemory;
use crate::stream::Stream;
use crate::stream_state::PublicationSource;
use crate::write_state::WriteState;
use crate::writer::Appended;

/// The right to write a stream. When it is dropped, the stream waits for another publication.
///
/// # Guarantees
/// Messages are in the log in the order of the calls. A publication that takes over finds all of them there, and nothing
/// is written by the former one after that.
#[derive(Debug)]
pub struct Publication {
    stream: Arc<Stream>,
    token: Arc<PublicationToken>,
    epoch: Epoch,
}

impl Publication {
    /// Takes over the stream from its current publication.
    pub(crate) fn begin(
        stream: &Arc<Stream>,
        state: &mut WriteState,
        epoch: Epoch,
        source: PublicationSource,
        priority: u8,
        started: Instant,
    ) -> Self {
        let token = Arc::<PublicationToken>::default();
        let active = ActivePublication {
            token: Arc::clone(&token),
            epoch,
            source,
            priority,
            started,
            last_message: started,
            messages: state.writer.counters().messages,
        };
        stream.hand_over(state, Some(active));
        Self {
            stream: Arc::clone(stream),
            token,
            epoch,
        }
    }

    /// Returns the time at which the encoder connected. An encoder's own publication is always later than every epoch of
    /// its stream on this media node, even if the clocks differ.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the name of the stream.
    pub fn key(&self) -> &StreamKey {
        self.stream.key()
    }

    /// Returns the stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Appends an encoder's message. Its timestamp can wrap, jump or restart.
    pub fn append(&mut self, message: Message) -> Appended {
        let epoch = self.epoch;
        self.write(|state| state.writer.append(epoch, message))
    }

    /// Appends a message of another media node's log. Each sequence is appended once. After a gap, video is refused until
    /// the next keyframe.
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
        self.write(|state| state.writer.append_at(epoch, sequence, message))
    }

    /// Declares that the relay first sends the messages before `sequence`, which another media node had. Viewers that join wait until
    /// all of them are in the log. Otherwise they would begin with the oldest one, and stay behind by its age. Call it before the
    /// first message.
    pub fn resume_until(&mut self, sequence: u64) {
        let mut state = self.stream.write_state();
        if self.is_active(&state) {
            self.stream.resume_until(&mut state, sequence);
        }
    }

    /// Declares that the relay has only the messages before `sequence` yet. If all of them are in the log, viewers that join do not wait
    /// for the next one, which may be long in coming. Call it before the first message.
    pub fn continue_at(&mut self, sequence: u64) {
        let mut state = self.stream.write_state();
        if self.is_active(&state) && state.writer.position() >= Some((self.epoch, sequence)) {
            self.stream.resumed(&mut state);
        }
    }

    /// Makes the messages that are due visible to readers. Call it after the messages of each read, and at the returned instant.
    pub fn pulse(&mut self, now: Instant) -> Option<Instant> {
        let mut state = self.stream.write_state();
        if self.is_active(&state) {
            state.observe_messages(now);
            self.stream.review_retention(&mut state, now);
            self.stream.pulse(&mut state, now)
        } else {
            None
        }
    }

    /// Returns the metadata and sequence headers of this publication, also after another one has taken over the stream.
    pub(crate) fn init_data(&self) -> InitData {
        let state = self.stream.write_state();
        state.writer.init_data_of(self.epoch)
    }

    /// Completes when another publication has taken over the stream. Cancel safe.
    pub fn superseded(&self) -> impl Future<Output = ()> + Send + use<> {
        let token = Arc::clone(&self.token);
        async move { token.superseded().await }
    }

    /// Returns the error for which the stream was ended, if the publication is superseded for want of memory and not by another one.
    pub fn refused(&self) -> Option<OutOfMemory> {
        self.token.refused()
    }

    fn write(&mut self, append: impl FnOnce(&mut WriteState) -> Appended) -> Appended {
        let mut state = self.stream.write_state();
        if !self.is_active(&state) {
            return Appended::Superseded;
        }
        let appended = append(&mut state);
        state.sealed_by_message |= self.stream.commit(&mut state);
        appended
    }

    fn is_active(&self, state: &WriteState) -> bool {
        let active = state.publication.as_ref();
        active.is_some_and(|active| Arc::ptr_eq(&active.token, &self.token))
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let mut state = self.stream.write_state();
        if self.is_active(&state) {
            self.stream.hand_over(&mut state, None);
        }
    }
}
