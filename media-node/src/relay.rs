//! Relays: the streams between media nodes. A media node pulls streams that its viewers demand and that are published elsewhere, and
//! an edge forwards what is published to it.
//!
//! ```text
//!   viewers ── edge ──pull──▶ origin ◀──forward── edge ── encoder
//!                              │  ▲
//!                           pull, supersede
//!                              ▼  │
//!                             origin ── encoder
//! ```
//!
//! Instead of origins, an edge can have foreign RTMP servers (`rtmp_server`), which it plays from and publishes to.
//!
//! Guarantees
//! * A stream is pulled once for all viewers of a media node ([`pull`]), and only from a media node that it is published or forwarded
//!   to, never from another copy: there are no loops. An edge that does not reach that media node pulls through another origin, which
//!   passes on what it gets and asks no further one ([`serve`]).
//! * Of several publications of a stream the newest one wins, on every media node ([`conflict`]). An encoder that stands by begins none
//!   ([`contest`]).
//! * A relay that changes its upstream continues with the message that it needs next. Duplicates are dropped.
//! * Viewers that wait for a publication get it from its first message, on every media node that finds it soon enough.
//! * Every wait has a limit ([`settings`]). An origin that hangs is given up like one that disconnects.
//!
//! Read in this order: [`protocol`] and [`serve`] (the server), [`survey`], [`pull`], [`conflict`], [`contest`],
//! [`forward`].

mod active_relay;
mod announce;
mod arrived_bytes;
mod awaited_streams;
mod backoff;
mod body;
mod client;
mod conflict;
mod connection_pool;
mod contest;
mod context;
mod fetch;
mod forward;
mod health_check;
mod intake;
mod lookups;
mod noted_epochs;
mod noted_needs;
mod protocol;
mod pull;
mod reachability;
mod rejection;
mod response_limit;
mod rtmp_server;
mod serve;
mod served_pulls;
mod settings;
mod silence;
mod slate;
mod survey;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use media_config::Role;
use media_engine::Stream;
use media_wire::StreamKey;
use media_wire::relay::Epoch;

use crate::discovery::OriginSet;
use crate::response::Body;
#[cfg(test)]
use crate::state::metrics::RelayMetrics;
use crate::state::publisher_addresses::PublisherAddresses;
pub(crate) use contest::{Contender, Resolution, SwitchReason};
use context::RelayContext;
pub(crate) use context::{RelayParts, Spawner};
pub(crate) use forward::Forwarding;
use forward::Forwards;
use health_check::check_origins;
use lookups::Lookups;
pub(crate) use lookups::{Appearance, TooManyNames};
use pull::Pulls;
pub(crate) use rejection::PublishRejection;
pub(crate) use rtmp_server::RtmpServer;
pub(crate) use settings::RelaySettings;
use slate::Slates;

/// The relays of a media node. Clones share them.
#[derive(Clone)]
pub(crate) struct Relay {
    context: Arc<RelayContext>,
    pulls: Pulls,
    lookups: Lookups,
    forwards: Forwards,
    slates: Slates,
}

impl Relay {
    /// Returns the relays of a media node with these parts.
    pub(crate) fn new(settings: RelaySettings, parts: RelayParts) -> Self {
        let context = Arc::new(RelayContext::new(settings, parts));
        if context.origins.is_some() {
            let checked = Arc::clone(&context);
            context.spawn(move |_| check_origins(checked));
        }
        Self {
            pulls: Pulls::new(Arc::clone(&context)),
            lookups: Lookups::new(Arc::clone(&context)),
            forwards: Forwards::new(Arc::clone(&context)),
            slates: Slates::new(Arc::clone(&context)),
            context,
        }
    }

    /// Pulls the stream whenever it is not published here, until it has no viewers. Each new viewer calls this: further
    /// calls are cheap.
    pub(crate) fn demand(&self, stream: &Arc<Stream>, appearance: Appearance) {
        self.pulls.demand(stream, appearance.missing);
    }

    /// Waits until the stream exists here, or another media node has a publication of it. Until then, it takes the place of no other.
    /// The addresses of viewers have turns.
    ///
    /// # Errors
    /// When too many names are looked up.
    pub(crate) async fn appearance(
        &self,
        key: &StreamKey,
        viewer: IpAddr,
    ) -> Result<Appearance, TooManyNames> {
        self.lookups.appearance(key, viewer).await
    }

    /// Waits until all origins were surveyed and none has the stream. Returns immediately when the media node is alone.
    pub(crate) async fn not_found(&self, key: &StreamKey) {
        self.lookups.missing(key).await;
        self.pulls.not_found(key).await;
    }

    /// Returns whether an encoder that has just connected may publish `key`, and with which epoch.
    ///
    /// # Errors
    /// The reason for which the encoder is rejected.
    pub(crate) async fn resolve_first(
        &self,
        key: &StreamKey,
        contender: &Contender,
    ) -> Result<Resolution, PublishRejection> {
        conflict::resolve_first(&self.context, key, contender).await
    }

    /// Returns whether an encoder may publish `key`, and with which epoch.
    ///
    /// # Errors
    /// The reason for which the encoder is rejected.
    pub(crate) async fn resolve_conflict(
        &self,
        key: &StreamKey,
        contender: &Contender,
    ) -> Result<Resolution, PublishRejection> {
        conflict::resolve_conflict(&self.context, key, contender).await
    }

    /// Makes an encoder's publication known in the cluster until the result is dropped: an edge forwards it with the encoder's
    /// address, an origin announces it.
    pub(crate) fn forward(
        &self,
        stream: &Arc<Stream>,
        epoch: Epoch,
        address: IpAddr,
    ) -> Forwarding {
        self.context.awaited.notify(stream.key());
        if self.context.origins.is_none() && self.context.settings.rtmp_servers.is_empty() {
            return Forwarding::none();
        }
        match self.context.settings.role {
            Role::Edge => self.forwards.forward(stream, epoch, address),
            Role::Origin => Forwarding::announce(&self.context, stream.key(), epoch),
        }
    }

    /// Returns the addresses of the encoders, also of those whose streams edges forward to this media node.
    pub(crate) fn publishers(&self) -> &PublisherAddresses {
        &self.context.publishers
    }

    /// Begins a slate in each stream that waits for an encoder, if there is one. Call it after each sweep of the registry.
    pub(crate) fn begin_slates(&self) {
        self.slates.begin();
    }

    /// Responds to a request of another media node. `worker` is the one that runs the connection.
    pub(crate) async fn serve(&self, request: Request<Incoming>, worker: usize) -> Response<Body> {
        serve::serve(&self.context, request, worker).await
    }

    /// Adds this media node's id to a response of the internal port.
    pub(crate) fn add_node_id<B>(&self, response: &mut Response<B>) {
        let id = self.context.node.clone();
        response.headers_mut().insert(protocol::NODE, id);
    }

    /// Returns the responses of the other origins to a request, one for each media node. Time and size are limited, and origins
    /// that do not respond are left out.
    pub(crate) async fn fetch_from_origins(&self, path: &str) -> Vec<Bytes> {
        fetch::fetch_from_origins(&self.context, path).await
    }

    /// Returns whether this media node can find what is published elsewhere: false on an edge that never knew an origin.
    pub(crate) fn found_origins(&self) -> bool {
        let origins = self.context.origins.as_ref();
        self.context.settings.role == Role::Origin || origins.is_none_or(OriginSet::ever_known)
    }

    /// Returns whether this media node forwards publications, also those that have ended and whose last messages are on their way.
    pub(crate) fn is_forwarding(&self) -> bool {
        self.forwards.any()
    }

    /// Asks the edges that forward to this media node to move to another origin.
    pub(crate) fn start_draining(&self) {
        self.context.start_draining();
    }

    /// Returns the number of origins that are known.
    pub(crate) fn known_origins(&self) -> usize {
        self.context.current_origins().len()
    }

    /// Returns the relays in numbers.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> &RelayMetrics {
        &self.context.metrics
    }
}
