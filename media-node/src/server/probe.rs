//! What the failure explorer sees inside of a media node. It does not keep the media node in memory.

use std::any::Any;
use std::sync::{Arc, Weak};

use media_engine::{Epoch, PublicationSource};
use media_wire::StreamKey;
use prometheus::IntGauge;

use super::context::NodeContext;
use crate::state::clients::StopReason;

/// A probe of a media node.
#[derive(Clone)]
pub(crate) struct Probe(pub(super) Weak<NodeContext>);

/// What a media node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) streams: usize,
    /// Bytes of media in the windows of all streams.
    pub(crate) window_bytes: usize,
    /// Bytes of media that are in memory: in windows, with readers, and of messages that are not complete.
    pub(crate) media_bytes: usize,
    /// Publishers, viewers and relays.
    pub(crate) clients: usize,
    pub(crate) pulls: u64,
    pub(crate) forwards: u64,
    /// Connections of the public ports.
    pub(crate) connections: usize,
    /// Addresses of origins that it knows.
    pub(crate) origins: usize,
}

impl Probe {
    /// Disconnects all clients, as the media node does those whose key is revoked.
    pub(crate) fn revoke(&self) {
        let clients = self.0.upgrade().map(|context| context.clients.all());
        for client in clients.into_iter().flatten() {
            client.stop(StopReason::Kicked);
        }
    }

    /// Changes the memory for media, as the media node does when its container's is in use.
    pub(crate) fn limit_memory(&self, bytes: usize) {
        if let Some(context) = self.0.upgrade() {
            context.registry.limit_memory(bytes);
        }
    }

    /// Keeps the media node in memory until the result is dropped.
    pub(crate) fn keep(&self) -> Option<Arc<dyn Any>> {
        let context = self.0.upgrade()?;
        Some(context)
    }

    /// Returns the epoch of the publication of an encoder that is connected to the media node.
    pub(crate) fn epoch(&self, stream: &StreamKey) -> Option<Epoch> {
        let context = self.0.upgrade()?;
        let publication = context.registry.find(stream)?.state().publication?;
        (publication.source == PublicationSource::Encoder).then_some(publication.epoch)
    }

    /// Returns what the media node holds, or `None` when nothing of it is left in memory.
    pub(crate) fn held(&self) -> Option<Held> {
        let context = self.0.upgrade()?;
        let streams = context.registry.streams();
        let relays = context.relay.metrics();
        let active = |gauge: &IntGauge| u64::try_from(gauge.get()).unwrap_or_default();
        Some(Held {
            streams: streams.len(),
            window_bytes: streams
                .iter()
                .map(|stream| stream.stats().window_bytes)
                .sum(),
            media_bytes: context.registry.memory().used,
            clients: context.clients.all().len(),
            pulls: active(&relays.pulls),
            forwards: active(&relays.forwards),
            connections: *context.connections.open().borrow(),
            origins: context.relay.known_origins(),
        })
    }
}
