//! Taking in what an edge forwards.

use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use media_config::{DuplicatePublish, Role};
use media_engine::{DuplicatePolicy, Publication, PublicationSource, PublishError};
use media_wire::relay::{Epoch, RelayItem, RelayReader};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::super::Relay;
use super::super::forward::Carried;
use super::super::protocol::{Parameters, Reason};
use super::{Caller, Denied, json};
use crate::response::Body;
use crate::state::clients::{ClientGuard, ClientRole, StopReason};

/// What an edge has to close its encoder beyond the time that an encoder may be idle.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the rest of a refused body is read. Closed with unread bytes, a connection is reset, and the edge may lose
/// the answer that says why.
const FAREWELL: Duration = Duration::from_secs(1);

impl Relay {
    pub(super) async fn push(
        &self,
        parameters: &Parameters,
        caller: &Caller,
        mut body: Incoming,
    ) -> Result<Response<Body>, Denied> {
        let taken = self.take_in(parameters, caller, &mut body).await;
        if taken.is_err() {
            tokio::spawn(timeout(FAREWELL, async move {
                while let Some(Ok(_)) = body.frame().await {}
            }));
        }
        let messages = taken?;
        Ok(json(StatusCode::OK, &messages))
    }

    async fn take_in(
        &self,
        parameters: &Parameters,
        caller: &Caller,
        body: &mut Incoming,
    ) -> Result<u64, Denied> {
        let epoch = parameters.epoch.ok_or(Denied::NoEpoch)?;
        if self.0.config.role != Role::Origin {
            return Err(Denied::NotAnOrigin);
        }
        let publication = self.forwarded(parameters, epoch)?;
        let stream = publication.key().clone();
        self.ring();
        let _announced = Carried::announce(self, &stream, epoch);
        info!(%stream, epoch = epoch.0, "publish forwarded to here");
        let client = self.enter(caller.peer, ClientRole::Publisher, &stream, &caller.node);
        let mut inflow = Inflow {
            client,
            publication,
            before: false,
            pulse: None,
            messages: 0,
        };
        let taken = self.receive(&mut inflow, body).await;
        let messages = inflow.messages;
        match &taken {
            Ok(()) => info!(%stream, messages, "forwarded publish ended"),
            Err(reason) => info!(%stream, messages, %reason, "forwarded publish lost"),
        }
        taken.map(|()| messages)
    }

    fn forwarded(&self, parameters: &Parameters, epoch: Epoch) -> Result<Publication, Denied> {
        let here = self.0.config.stream.duplicate_publish == DuplicatePublish::Reject;
        let policy = match here || parameters.reject {
            true => DuplicatePolicy::Reject,
            false => DuplicatePolicy::Takeover,
        };
        let now = Instant::now().into_std();
        let begun = self.0.registry.publish(
            &parameters.key,
            epoch,
            PublicationSource::Forwarded,
            policy,
            now,
        );
        begun.map_err(|error| match error {
            PublishError::AlreadyPublished => Denied::Conflict(Reason::AlreadyPublished),
            PublishError::Superseded { .. } => Denied::Conflict(Reason::Superseded),
            PublishError::TooManyStreams(error) => Denied::Full(error.to_string()),
        })
    }

    async fn receive(&self, inflow: &mut Inflow, body: &mut Incoming) -> Result<(), Denied> {
        let config = &self.0.config;
        let patience = config.stream.publish_idle_timeout() + PATIENCE;
        let mut reader = RelayReader::new(config.limits.max_message_bytes());
        let mut deadline = Instant::now() + patience;
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let data = match frame {
                        None => return Ok(()),
                        Some(Err(error)) => return Err(Denied::Nonsense(error.to_string())),
                        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    };
                    deadline = Instant::now() + patience;
                    inflow.client.received(data.len());
                    reader.feed(data);
                    inflow.take(&mut reader)?;
                }
                () = sleep_until(inflow.pulse.unwrap_or(deadline)), if inflow.pulse.is_some() => inflow.seal(),
                () = inflow.publication.superseded() => return Err(Denied::Conflict(Reason::Superseded)),
                () = let_go(&inflow.client) => return Err(Denied::LetGo),
                () = sleep_until(deadline) => return Err(Denied::Idle(patience)),
            }
        }
    }
}

async fn let_go(client: &ClientGuard) {
    // A leaving node asks the edge in its answers to go elsewhere, and takes the stream in until it has.
    while client.stopped().await == StopReason::Draining {}
}

/// A forwarded publication as it comes in.
struct Inflow {
    client: ClientGuard,
    publication: Publication,
    /// What comes is of an earlier publication that the edge's log still has.
    before: bool,
    /// When the engine wants to seal.
    pulse: Option<Instant>,
    messages: u64,
}

impl Inflow {
    fn take(&mut self, reader: &mut RelayReader) -> Result<(), Denied> {
        loop {
            match reader.receive() {
                Err(error) => return Err(Denied::Nonsense(error.to_string())),
                Ok(None) => break,
                // The edge has a newer encoder, which it forwards over a connection of its own.
                Ok(Some(RelayItem::Epoch(epoch))) if epoch > self.publication.epoch() => {
                    return Err(Denied::Conflict(Reason::Superseded));
                }
                Ok(Some(RelayItem::Epoch(epoch))) => self.before = epoch < self.publication.epoch(),
                Ok(Some(RelayItem::Message { .. })) if self.before => {}
                Ok(Some(RelayItem::Message {
                    sequence,
                    kind,
                    timestamp,
                    payload,
                })) => {
                    self.publication
                        .append_at(sequence, timestamp, kind, payload);
                    self.messages += 1;
                }
            }
        }
        self.seal();
        Ok(())
    }

    fn seal(&mut self) {
        let due = self.publication.pulse(Instant::now().into_std());
        self.pulse = due.map(Instant::from_std);
    }
}
