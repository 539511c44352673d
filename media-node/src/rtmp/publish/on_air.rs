//! An encoder that is on air: its messages go into the log.

use std::net::IpAddr;
use std::pin::pin;

use media_config::DuplicatePublish;
use media_engine::{Appended, DuplicatePolicy, Publication, PublicationSource, PublishError};
use media_wire::relay::Epoch;
use media_wire::{MediaKind, Message, StreamKey};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::super::context::RtmpContext;
use super::encoder::EncoderConnection;
use super::end::PublishEnd;
use crate::relay::{Forwarding, PublishRejection};

/// A publication of an encoder. Fields are dropped in this order: the publication ends first, so that the relay still forwards
/// what is left in the log.
pub(super) struct EncoderPublication {
    publication: Publication,
    forwarding: Forwarding,
}

impl EncoderPublication {
    /// Begins a publication of an encoder with this address.
    pub(super) fn begin(
        context: &RtmpContext,
        key: &StreamKey,
        epoch: Epoch,
        priority: u8,
        address: IpAddr,
    ) -> Result<Self, PublishError> {
        let policy = match context.config.stream.duplicate_publish {
            DuplicatePublish::Takeover | DuplicatePublish::Standby => {
                DuplicatePolicy::Priority(priority)
            }
            DuplicatePublish::Reject => DuplicatePolicy::Reject,
        };
        let (source, now) = (PublicationSource::Encoder, Instant::now().into_std());
        let publication = context.registry.publish(key, epoch, source, policy, now)?;
        let forwarding = context
            .relay
            .forward(publication.stream(), publication.epoch(), address);
        Ok(Self {
            publication,
            forwarding,
        })
    }

    pub(super) fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Receives messages until the publication ends.
    pub(super) async fn receive(&mut self, encoder: &mut EncoderConnection<'_>) -> PublishEnd {
        let (Ok(end) | Err(end)) = self.receive_messages(encoder).await;
        match self.publication.refused() {
            Some(error) if end == PublishEnd::Superseded => PublishEnd::OutOfMemory(error),
            _ => end,
        }
    }

    async fn receive_messages(
        &mut self,
        encoder: &mut EncoderConnection<'_>,
    ) -> Result<PublishEnd, PublishEnd> {
        let mut superseded = pin!(self.publication.superseded());
        loop {
            while let Some(message) = encoder.next_message().await? {
                self.append(message, encoder)?;
                // A read can have thousands of short messages. The worker's viewers get their turn in between.
                consume_budget().await;
            }
            encoder.flush().await?;
            let now = Instant::now();
            let idle = now + encoder.context.config.stream.publish_idle_timeout();
            let pulse = self.publication.pulse(now.into_std());
            let due = pulse.map_or(idle, Instant::from_std);
            tokio::select! {
                biased;
                () = &mut superseded => return Ok(PublishEnd::Superseded),
                rejection = self.forwarding.rejected() => return Ok(match rejection {
                    PublishRejection::NoOrigin => PublishEnd::NoOrigin,
                    PublishRejection::OutOfMemory => PublishEnd::OriginsOutOfMemory,
                    PublishRejection::TooManyStreams => PublishEnd::TooManyStreams,
                    PublishRejection::AlreadyPublished | PublishRejection::Superseded => PublishEnd::Superseded,
                }),
                input = encoder.input(due) => if input?.is_some() {
                    let has_keyframes = self.publication.stream().stats().video.is_some();
                    encoder.drain(!has_keyframes);
                },
            }
        }
    }

    /// Appends a message to the log.
    pub(super) fn append(
        &mut self,
        message: Message,
        encoder: &mut EncoderConnection<'_>,
    ) -> Result<(), PublishEnd> {
        // Encoders send these once, and a standby needs them.
        let is_init = message.kind == MediaKind::Data || message.is_sequence_header();
        let init = is_init.then(|| message.clone());
        match self.publication.append(message) {
            Appended::InitDataTooLong { len, limit } => {
                Err(PublishEnd::InitDataTooLong { len, limit })
            }
            Appended::TooMuchInitData => {
                encoder.context.metrics.exceeded("init_data_messages");
                Ok(())
            }
            Appended::OutOfMemory(error) => Err(PublishEnd::OutOfMemory(error)),
            Appended::Superseded => {
                if let Some(init) = init {
                    encoder.put_back(init);
                }
                Err(PublishEnd::Superseded)
            }
            _ => Ok(()),
        }
    }
}
