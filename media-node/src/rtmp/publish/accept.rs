//! Whether an encoder may publish, and whether it begins on air or stands by.

use std::net::IpAddr;

use media_config::DuplicatePublish;
use media_engine::{PublishError, Standby, StandbyError};
use media_wire::StreamKey;
use media_wire::rtmp::server::PublishRefusal;
use tokio::time::Instant;
use tracing::info;

use super::super::connection::RtmpConnection;
use super::super::context::RtmpContext;
use super::super::request::StreamRequest;
use super::bitrate::BitrateLimit;
use super::on_air::EncoderPublication;
use crate::auth::{AccessRequest, Action, Credential};
use crate::relay::{Contender, PublishRejection, Resolution};
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, NewClient};
use crate::state::publisher_addresses::{PublisherAddress, TooManyStreamsOfAddress};

/// The highest priority of an encoder. The default is 0.
const MAX_PRIORITY: u8 = 100;

/// An encoder that may publish.
pub(super) struct AcceptedEncoder {
    pub(super) client: ClientGuard,
    pub(super) key: StreamKey,
    pub(super) priority: u8,
    pub(super) bitrate: BitrateLimit,
    pub(super) place: EncoderPlace,
    /// The stream as one of the encoder's address, where that has a limit.
    pub(super) address: Option<PublisherAddress>,
}

/// The place of an encoder among those of its stream.
pub(super) enum EncoderPlace {
    OnAir(EncoderPublication),
    Standby(Standby, Contender),
}

/// Why an encoder may not publish.
pub(super) struct EncoderRefusal {
    pub(super) kind: PublishRefusal,
    pub(super) reason: String,
    /// The label of the limit that is exceeded.
    pub(super) limit: Option<&'static str>,
}

/// Decides whether an encoder may publish, and gives it a place. The caller sends the response.
pub(super) async fn accept(
    connection: &RtmpConnection,
    context: &RtmpContext,
    request: &StreamRequest,
) -> Result<AcceptedEncoder, EncoderRefusal> {
    let key = match &request.key {
        Ok(key) => key,
        Err(error) => return Err(EncoderRefusal::new(PublishRefusal::BadName, error)),
    };
    let id = context.clients.next_id();
    let decided = context.auth.decide(AccessRequest {
        action: Action::Publish,
        stream: key,
        credential: &request.credential,
        peer: connection.peer.ip(),
        client: id,
        tc_url: &request.tc_url,
        page_url: &connection.page_url,
    });
    let denied = |denial| EncoderRefusal::new(PublishRefusal::Denied, denial);
    let grant = decided.await.map_err(denied)?;
    let priority = match context.config.stream.duplicate_publish {
        DuplicatePublish::Standby => priority(&request.credential)?,
        DuplicatePublish::Takeover | DuplicatePublish::Reject => 0,
    };
    let address = context.publishers.enter(key, connection.peer.ip())?;
    let place = place(context, key, priority, connection.peer.ip()).await?;
    let limits = [
        context.limits.get().max_publish_kbps(),
        grant.max_publish_kbps,
    ];
    let bitrate = BitrateLimit::new(limits, Instant::now());
    let client = context.clients.enter(NewClient {
        id,
        grant,
        peer: connection.peer,
        kind: ClientKind::Rtmp,
        role: ClientRole::Publisher,
        stream: key.clone(),
        agent: connection.agent.clone(),
    });
    log_accepted(connection, key, client.id, &place, priority);
    Ok(AcceptedEncoder {
        client,
        key: key.clone(),
        priority,
        bitrate,
        place,
        address,
    })
}

fn log_accepted(
    connection: &RtmpConnection,
    stream: &StreamKey,
    client: u64,
    place: &EncoderPlace,
    priority: u8,
) {
    let (peer, agent) = (connection.peer, &connection.agent);
    match place {
        EncoderPlace::OnAir(on_air) => {
            let epoch = on_air.publication().epoch().0;
            info!(%stream, client, %peer, epoch, agent, "publish started");
        }
        EncoderPlace::Standby(..) => {
            info!(%stream, client, %peer, priority, agent, "publish stands by");
        }
    }
}

async fn place(
    context: &RtmpContext,
    key: &StreamKey,
    priority: u8,
    address: IpAddr,
) -> Result<EncoderPlace, EncoderRefusal> {
    let contender = Contender::new(priority);
    let resolution = context.relay.resolve_first(key, &contender).await;
    match resolution? {
        Resolution::OnAir(epoch, _) => {
            let on_air = EncoderPublication::begin(context, key, epoch, priority, address)?;
            Ok(EncoderPlace::OnAir(on_air))
        }
        Resolution::Standby(on_air) => {
            let standby = context.registry.stand_by(key)?;
            let contender = Contender {
                previous: Some(on_air),
                ..contender
            };
            Ok(EncoderPlace::Standby(standby, contender))
        }
    }
}

fn priority(credential: &Credential) -> Result<u8, EncoderRefusal> {
    let Some(text) = credential.parameter("priority") else {
        return Ok(0);
    };
    let priority = text.parse().ok();
    priority
        .filter(|priority| *priority <= MAX_PRIORITY)
        .ok_or_else(|| {
            let reason = format!("priority: choose a whole number from 0 to {MAX_PRIORITY}");
            EncoderRefusal::new(PublishRefusal::Failed, reason)
        })
}

impl EncoderRefusal {
    fn new(kind: PublishRefusal, reason: impl ToString) -> Self {
        Self {
            kind,
            reason: reason.to_string(),
            limit: None,
        }
    }
}

impl From<PublishRejection> for EncoderRefusal {
    fn from(rejection: PublishRejection) -> Self {
        let kind = match rejection {
            PublishRejection::AlreadyPublished => PublishRefusal::BadName,
            PublishRejection::Superseded
            | PublishRejection::NoOrigin
            | PublishRejection::OutOfMemory
            | PublishRejection::TooManyStreams => PublishRefusal::Failed,
        };
        Self::new(kind, rejection)
    }
}

impl From<TooManyStreamsOfAddress> for EncoderRefusal {
    fn from(error: TooManyStreamsOfAddress) -> Self {
        Self {
            limit: Some("address_streams"),
            ..Self::new(PublishRefusal::Failed, error)
        }
    }
}

impl From<PublishError> for EncoderRefusal {
    fn from(error: PublishError) -> Self {
        let (kind, limit) = match error {
            PublishError::TooManyStreams(_) => (PublishRefusal::Failed, Some("streams")),
            PublishError::OutOfMemory(_) => (PublishRefusal::Failed, None),
            PublishError::AlreadyPublished | PublishError::Superseded { .. } => {
                (PublishRefusal::BadName, None)
            }
        };
        Self {
            limit,
            ..Self::new(kind, error)
        }
    }
}

impl From<StandbyError> for EncoderRefusal {
    fn from(error: StandbyError) -> Self {
        let limit = match error {
            StandbyError::TooManyStandbys(_) => "standbys",
            StandbyError::TooManyStreams(_) => "streams",
        };
        Self {
            limit: Some(limit),
            ..Self::new(PublishRefusal::Failed, error)
        }
    }
}
