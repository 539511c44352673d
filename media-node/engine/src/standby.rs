//! A standby: an encoder that waits for its turn to publish a stream. It keeps what a viewer needs before a keyframe, and no
//! media.

use std::sync::Arc;

use media_wire::{MediaKind, Message};
use thiserror::Error;

use crate::init_data::InitData;
use crate::media_memory::OutOfMemory;
use crate::message_class::MessageClass;
use crate::publication::Publication;
use crate::settings::InitDataLimits;
use crate::stream::Stream;

/// The maximum number of standbys of a stream on a media node. Each has a connection and init data.
const MAX_STANDBYS: usize = 8;

/// An encoder that stands by for a stream.
#[derive(Debug)]
pub struct Standby {
    stream: Arc<Stream>,
    init_data: InitData,
    limits: InitDataLimits,
    has_video: bool,
}

/// What a standby does with a message.
#[derive(Debug)]
pub enum StandbyMessage {
    /// It is kept as init data, or dropped.
    Taken,
    /// A publication can start with this message, after [`Standby::init_data`].
    Start(Message),
    /// It is init data above the limit, and is dropped.
    InitDataTooLong {
        /// The length of the message.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// The media memory is in use, and its init data is more than its part of an equal share.
    OutOfMemory(OutOfMemory),
}

/// The error of a stream with the maximum number of standbys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{MAX_STANDBYS} encoders stand by for the stream on this media node, which is the maximum")]
pub struct TooManyStandbys;

impl Standby {
    pub(crate) fn new(stream: Arc<Stream>) -> Result<Self, TooManyStandbys> {
        if !stream.standby_joined(MAX_STANDBYS) {
            return Err(TooManyStandbys);
        }
        Ok(Self {
            limits: stream.init_data_limits(),
            init_data: InitData::default(),
            stream,
            has_video: false,
        })
    }

    /// Returns the stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Takes the init data of the encoder's former publication: encoders send it only once.
    pub fn keep_init_data(&mut self, former: &Publication) {
        self.init_data = former.init_data();
        self.has_video = self.init_data.tracks().video;
    }

    /// Takes the init data of the encoder's former standby.
    pub fn keep_init_data_of(&mut self, former: &Self) {
        self.init_data = former.init_data.clone();
        self.has_video = former.has_video;
    }

    /// Takes the encoder's next message.
    pub fn receive(&mut self, message: Message) -> StandbyMessage {
        let class = MessageClass::of(&message, message.header());
        self.has_video |= message.kind == MediaKind::Video;
        if let Some(slot) = class.init_slot() {
            let (len, limit) = (message.payload.len(), self.limits.message_bytes);
            if len > limit {
                return StandbyMessage::InitDataTooLong { len, limit };
            }
            let memory = self.stream.memory();
            if let Err(error) = memory.allow_init_data(self.init_data.bytes() + len) {
                return StandbyMessage::OutOfMemory(error);
            }
            let max_messages = self.limits.messages;
            let changed = self
                .init_data
                .changed_by(slot, &message, 0, memory, max_messages);
            if let Some(changed) = changed {
                self.init_data = changed;
            }
            return StandbyMessage::Taken;
        }
        match class {
            MessageClass::Keyframe => StandbyMessage::Start(message),
            MessageClass::Audio if !self.has_video => StandbyMessage::Start(message),
            _ => StandbyMessage::Taken,
        }
    }

    /// Returns the latest metadata and sequence headers, with the timestamp of the message that follows them.
    pub fn init_data(&self, timestamp: u32) -> Vec<Message> {
        self.init_data.messages(timestamp).collect()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.stream.standby_left();
    }
}
