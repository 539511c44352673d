//! Receiving a publication that an edge forwards.

use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use media_config::{DuplicatePublish, Role};
use media_engine::{DuplicatePolicy, Publication, PublicationSource, PublishError};
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::super::announce::start_announcing;
use super::super::context::RelayContext;
use super::super::intake::Intake;
use super::super::protocol::{ConflictReason, Parameters};
use super::super::silence::Silence;
use super::super::survey::Survey;
use super::request::{PeerNode, RelayRequestError};
use crate::response::{Body, json};
use crate::state::clients::{ClientGuard, ClientRole, StopReason};

/// Receives a forwarded publication until it ends, and responds.
pub(super) async fn receive_forwarded(
    context: &Arc<RelayContext>,
    parameters: &Parameters,
    peer: &PeerNode,
    mut body: Incoming,
) -> Result<Response<Body>, RelayRequestError> {
    let received = receive(context, parameters, peer, &mut body).await;
    if received.is_err() {
        let limit = context.timeouts().intake.lingering_close;
        tokio::spawn(timeout(limit, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
    let messages = received?;
    Ok(json(StatusCode::OK, &messages))
}

/// Returns the number of messages.
async fn receive(
    context: &Arc<RelayContext>,
    parameters: &Parameters,
    peer: &PeerNode,
    body: &mut Incoming,
) -> Result<u64, RelayRequestError> {
    let epoch = parameters.epoch.ok_or(RelayRequestError::NoEpoch)?;
    if context.settings.role != Role::Origin {
        return Err(RelayRequestError::NotAnOrigin);
    }
    let address = parameters.address;
    let counted = address.map(|address| context.publishers.enter(&parameters.key, address));
    let _counted = counted
        .transpose()
        .map_err(|error| RelayRequestError::TooManyStreams(error.to_string()))?;
    let mut publication = publish(context, parameters, epoch)?;
    context.successors.forget_up_to(&parameters.key, epoch);
    // The edge would send no init data.
    let position = publication.stream().position();
    if parameters
        .from
        .is_some_and(|from| position < Some((epoch, from)))
    {
        return Err(RelayRequestError::LogGivenUp);
    }
    if let Some(next) = parameters.sequence {
        if parameters.resume {
            publication.resume_until(next);
        }
        publication.continue_at(next);
    }
    let stream = publication.key().clone();
    context.awaited.notify(&stream);
    let _announcing = start_announcing(context, &stream, epoch);
    info!(%stream, epoch = epoch.0, "forwarded publish started");
    let role = ClientRole::Publisher;
    let client = context.add_client(peer.address, role, &stream, &peer.node);
    let _arrival = context.arrived.begin(&client);
    let mut intake = Intake::new(context);
    intake.append_to(publication);
    let received = receive_body(context, parameters, epoch, &client, &mut intake, body).await;
    let messages = intake.messages();
    match received {
        Ok(()) => {
            info!(%stream, messages, "forwarded publish ended");
            Ok(messages)
        }
        Err(error) => {
            info!(%stream, messages, reason = %error, "forwarded publish lost");
            Err(error)
        }
    }
}

fn publish(
    context: &RelayContext,
    parameters: &Parameters,
    epoch: Epoch,
) -> Result<Publication, RelayRequestError> {
    let reject = context.settings.stream.duplicate_publish == DuplicatePublish::Reject;
    let policy = if reject || parameters.reject {
        DuplicatePolicy::Reject
    } else {
        DuplicatePolicy::Priority(parameters.priority)
    };
    let now = Instant::now().into_std();
    let source = PublicationSource::Forwarded;
    let published = context
        .registry
        .publish(&parameters.key, epoch, source, policy, now);
    published.map_err(|error| match error {
        PublishError::AlreadyPublished => {
            RelayRequestError::Conflict(ConflictReason::AlreadyPublished)
        }
        PublishError::Superseded { .. } => RelayRequestError::Conflict(ConflictReason::Superseded),
        PublishError::TooManyStreams(error) => RelayRequestError::TooManyStreams(error.to_string()),
        PublishError::OutOfMemory(error) => RelayRequestError::OutOfMemory(error),
    })
}

async fn receive_body(
    context: &RelayContext,
    Parameters { key, .. }: &Parameters,
    epoch: Epoch,
    client: &ClientGuard,
    intake: &mut Intake,
    body: &mut Incoming,
) -> Result<(), RelayRequestError> {
    let (settings, timeouts) = (&context.settings, context.timeouts());
    let limit = settings.stream.publish_idle_timeout() + timeouts.intake.edge;
    let mut silence = Silence::new(context, key, timeouts.intake.silence, timeouts.retry.first);
    let mut deadline = Instant::now() + limit;
    loop {
        tokio::select! {
            frame = body.frame() => {
                let data = match frame {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(RelayRequestError::InvalidBody(error.to_string())),
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                };
                deadline = Instant::now() + limit;
                silence.end();
                client.received(data.len());
                intake.feed(data);
                if let Some(newer) = append(epoch, intake)? {
                    context.successors.note(key, newer);
                    return Err(RelayRequestError::Conflict(ConflictReason::Superseded));
                }
            }
            () = intake.seal_due() => intake.seal(),
            () = intake.superseded() => return Err(superseded(epoch, intake)),
            survey = silence.surveyed() => give_way(epoch, received(epoch, intake), &survey)?,
            () = disconnected(client) => return Err(RelayRequestError::Disconnected),
            () = sleep_until(deadline) => return Err(RelayRequestError::Idle(limit)),
        }
    }
}

/// Returns why the publication of a request, which has this epoch, is superseded.
fn superseded(epoch: Epoch, intake: &Intake) -> RelayRequestError {
    let publication = intake.publication();
    if let Some(error) = publication.and_then(Publication::refused) {
        return RelayRequestError::OutOfMemory(error);
    }
    // An earlier request of the edge, which it has given up, may arrive after this one: its encoder is still on air.
    if publication.is_some_and(|it| it.stream().on_air() == epoch) {
        return RelayRequestError::ForwardedAgain;
    }
    RelayRequestError::Conflict(ConflictReason::Superseded)
}

/// Appends the received messages to the publication of `epoch`. Returns the epoch of the edge's newer encoder, if there is one, whose
/// publication it forwards in another request.
fn append(epoch: Epoch, intake: &mut Intake) -> Result<Option<Epoch>, RelayRequestError> {
    loop {
        match intake.append() {
            Ok(None) => return Ok(None),
            Ok(Some(newer)) if newer > epoch => return Ok(Some(newer)),
            // The edge's log may start with an earlier publication.
            Ok(Some(other)) => intake.skip(other < epoch),
            Err(error) => return Err(RelayRequestError::InvalidBody(error.to_string())),
        }
    }
}

/// Returns the number of messages that the log has of a publication.
fn received(epoch: Epoch, intake: &Intake) -> u64 {
    let stream = intake.publication().map(Publication::stream);
    match stream.and_then(|stream| stream.position()) {
        Some((last, sequence)) if last == epoch => sequence,
        _ => 0,
    }
}

/// Ends a silent publication if another origin has, or had, more of it, or has a later one: the edge lost this origin and moved. This
/// origin does not notice that itself, because the connection to the edge stays open.
fn give_way(epoch: Epoch, received: u64, survey: &Survey) -> Result<(), RelayRequestError> {
    if survey.end_of(epoch) > Some(received) {
        return Err(RelayRequestError::Moved);
    }
    let Some(other) = survey.newest().filter(|newest| newest.has_encoder()) else {
        return Ok(());
    };
    if other.epoch() > epoch {
        return Err(RelayRequestError::Conflict(ConflictReason::Superseded));
    }
    if (other.epoch(), other.publication.sequence) > (epoch, received) {
        Err(RelayRequestError::Moved)
    } else {
        Ok(())
    }
}

async fn disconnected(client: &ClientGuard) {
    // A media node that drains reports that in its status, and receives the stream until the edge has moved.
    while client.stopped().await == StopReason::Draining {}
}

#[cfg(test)]
mod tests {
    use super::super::super::survey::status_for_test;
    use super::*;

    /// Returns what becomes of a publication with the epoch 5 and 100 messages when another origin has this status.
    fn given_way(live: bool, epoch: u64, sequence: u64) -> Result<(), RelayRequestError> {
        let survey = Survey {
            replies: vec![status_for_test(live, epoch, sequence)],
            silent: 0,
        };
        give_way(Epoch(5), 100, &survey)
    }

    #[test]
    fn silent_publication_gives_way_to_one_that_has_or_had_more_of_it() {
        assert!(matches!(
            given_way(true, 5, 101),
            Err(RelayRequestError::Moved)
        ));
        assert!(matches!(
            given_way(false, 5, 101),
            Err(RelayRequestError::Moved)
        ));
        let superseded = RelayRequestError::Conflict(ConflictReason::Superseded);
        assert_eq!(
            given_way(true, 6, 1).unwrap_err().status(),
            superseded.status()
        );
    }

    #[test]
    fn silent_publication_stays_when_no_other_origin_has_more_of_it() {
        let others = [
            (true, 5, 100),
            (false, 5, 100),
            (true, 4, 900),
            (false, 4, 900),
            (false, 6, 1),
        ];
        for (live, epoch, sequence) in others {
            assert!(given_way(live, epoch, sequence).is_ok());
        }
    }
}
