//! Surveys: all origins are asked in parallel which of them have a publication of a stream. The newest one wins.

mod progress;

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, Method, StatusCode};
use media_config::Role;
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep_until};

use self::progress::SurveyProgress;
use super::client::{ClientError, NodeConnection, empty, json};
use super::context::RelayContext;
use super::protocol::{NODE, PUBLICATION, Parameters, PublicationStatus, SLATE};
use super::response_limit::within;

/// Silence of a publication that may have moved. An origin that it moves to, also back, gets at once all that it lacks.
const MOVED: Duration = Duration::from_millis(400);
/// Messages by which an origin that gets a publication from a draining one may be behind it: those of about a second. The path to it may be
/// so slow that it has to catch up first.
const NEAR: u64 = 64;

/// The status of a stream at one origin.
#[derive(Clone, Debug)]
pub(super) struct OriginStatus {
    pub(super) origin: SocketAddr,
    /// The origin's id.
    pub(super) node: HeaderValue,
    /// Whether there is a publication now. If not, `publication` is the last one.
    pub(super) live: bool,
    pub(super) publication: PublicationStatus,
}

impl OriginStatus {
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.publication.epoch)
    }

    /// Returns whether the publication is only the origin's slate.
    pub(super) fn is_slate(&self) -> bool {
        self.live && self.publication.source == SLATE
    }

    /// Returns the statuses of all streams that were asked for. An older origin replies about the first one only.
    pub(super) fn of_all(mut self) -> Vec<Self> {
        let also = std::mem::take(&mut self.publication.also);
        let (origin, node) = (self.origin, self.node.clone());
        let others = also.into_iter().map(|publication| Self {
            origin,
            node: node.clone(),
            live: !publication.source.is_empty(),
            publication,
        });
        iter::once(self).chain(others).collect()
    }

    /// Returns whether an encoder has the publication.
    pub(super) fn has_encoder(&self) -> bool {
        self.live && self.publication.has_encoder()
    }
}

/// The result of a survey.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What the other media nodes replied. This media node is not among them.
    pub(super) replies: Vec<OriginStatus>,
    /// The number of origins that did not reply.
    pub(super) silent: usize,
}

/// When a survey ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SurveyEnd {
    /// One origin has a publication, and the grace time for the others is over.
    Found,
    /// All origins replied or timed out. Those that did not reply before have less time.
    All,
}

impl Survey {
    /// Returns the origin with the newest publication. While a publication moves, two origins have it: the one that is
    /// not draining is preferred once it has about as much of it. A slate is returned only if there is nothing else.
    pub(super) fn newest(&self) -> Option<&OriginStatus> {
        let on_air = |reply: &&OriginStatus| reply.live && !self.is_over_elsewhere(reply);
        let live = self.replies.iter().filter(on_air);
        let progress = |reply: &&OriginStatus| {
            let publication = &reply.publication;
            (
                (reply.has_encoder(), reply.epoch()),
                publication.sequence,
                !publication.indirect,
            )
        };
        let farthest = live.clone().max_by_key(progress)?;
        let (publication, sequence, _) = progress(&farthest);
        let stays = live.filter(|reply| {
            let (of, reached, _) = progress(reply);
            let is_near = reached + NEAR >= sequence;
            of == publication && is_near && !reply.publication.draining
        });
        stays.max_by_key(progress).or(Some(farthest))
    }

    /// Returns whether an origin only believes that it has a publication, which moved to another one and ended there. The origin was
    /// cut off from the edge, and its connection to that stays open.
    fn is_over_elsewhere(&self, reply: &OriginStatus) -> bool {
        let silence = Duration::from_millis(reply.publication.silent_milliseconds);
        silence >= MOVED && self.end_of(reply.epoch()) > Some(reply.publication.sequence)
    }

    /// Returns the number of the message after the last one of a publication, if it is over at one of the origins.
    pub(super) fn end_of(&self, epoch: Epoch) -> Option<u64> {
        let over = |reply: &&OriginStatus| !reply.live && reply.epoch() == epoch;
        let over = self.replies.iter().filter(over);
        over.map(|reply| reply.publication.sequence).max()
    }

    /// Returns the origin that has the most messages after this position, of publications that are over: one may have begun and ended
    /// between two surveys.
    pub(super) fn tail(&self, position: Option<(Epoch, u64)>) -> Option<&OriginStatus> {
        let position = position?;
        let newest = self.newest().map(OriginStatus::epoch);
        let has_more = |reply: &&OriginStatus| {
            let end = (reply.epoch(), reply.publication.sequence);
            !reply.live && end > position && newest.is_none_or(|newest| newest > reply.epoch())
        };
        let over = self.replies.iter().filter(has_more);
        over.max_by_key(|reply| (reply.epoch(), reply.publication.sequence))
    }

    /// Returns whether all origins replied and none has a publication.
    pub(super) fn is_absent(&self) -> bool {
        self.silent == 0 && !self.replies.is_empty() && self.newest().is_none()
    }

    pub(super) fn reply_of(&self, origin: SocketAddr) -> Option<&OriginStatus> {
        self.replies.iter().find(|reply| reply.origin == origin)
    }
}

/// Surveys all origins. Those without a publication hold the request for as long as the parameters say, until one starts.
pub(super) async fn survey(
    context: &RelayContext,
    parameters: &Parameters,
    end: SurveyEnd,
) -> Survey {
    let limit = parameters.wait + context.timeouts().survey.status;
    survey_within(context, parameters, end, limit).await
}

/// Surveys all origins until one has a publication, and lets them ask each other on an edge that does not reach all of them.
pub(super) async fn search(context: &RelayContext, parameters: &Parameters) -> Survey {
    let direct = survey(context, parameters, SurveyEnd::Found).await;
    if direct.silent == 0 || direct.newest().is_some() {
        return direct;
    }
    let indirect = survey_indirectly(context, &parameters.key).await;
    indirect
        .filter(|it| it.newest().is_some())
        .unwrap_or(direct)
}

/// Surveys all origins, and lets those that reply survey the others: an edge may be cut off from the one that has the publication. Returns
/// `None` on an origin, or when there is no other one to ask.
pub(super) async fn survey_indirectly(context: &RelayContext, key: &StreamKey) -> Option<Survey> {
    if context.settings.role == Role::Origin || context.current_origins().len() < 2 {
        return None;
    }
    let parameters = Parameters {
        indirect: true,
        ..Parameters::of(key)
    };
    // The origins survey the others within the time for one status.
    let limit = 2 * context.timeouts().survey.status;
    Some(survey_within(context, &parameters, SurveyEnd::Found, limit).await)
}

/// Surveys all origins. Each has the time `limit`, besides that which its reply is on the way.
pub(super) async fn survey_within(
    context: &RelayContext,
    parameters: &Parameters,
    end: SurveyEnd,
    limit: Duration,
) -> Survey {
    let Some(origins) = &context.origins else {
        return Survey::default();
    };
    let mut changes = origins.changes();
    let mut recoveries = context.reachability.recoveries();
    if origins.current().is_empty() {
        origins.search();
    }
    let mut progress = SurveyProgress::new(context, origins, end);
    let mut replies = FuturesUnordered::new();
    loop {
        // Those that appear during the survey are surveyed as well: the publication may be at the Pod that replaces one
        // that does not reply.
        for origin in progress.take_unasked(&changes.borrow_and_update()) {
            let status = status_of(context, origin, parameters, limit);
            replies.push(async move { (origin, status.await) });
        }
        if progress.is_complete() {
            break;
        }
        let deadline = progress.deadline();
        tokio::select! {
            Some((origin, reply)) = replies.next() => progress.note(origin, reply),
            Ok(()) = changes.changed() => {}
            // Others may hold the request for long, or hang, and one that replies again may have the publication.
            Ok(()) = recoveries.changed(), if progress.can_ask_again() => progress.ask_again(),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
        }
    }
    let survey = progress.end();
    // The publication may be at an origin that DNS did not return yet.
    if survey.newest().is_none() {
        origins.refresh();
    }
    survey
}

/// Requests a stream's status from one origin over a kept or a new connection. Returns `None` when the origin is this media node.
async fn status_of(
    context: &RelayContext,
    origin: SocketAddr,
    parameters: &Parameters,
    limit: Duration,
) -> Result<Option<OriginStatus>, ClientError> {
    let status = async || {
        if let Some(mut kept) = context.kept.take(origin) {
            let status = status_over(context, &mut kept, origin, parameters).await;
            // The origin may have closed the connection at this moment.
            if let Ok(status) = status {
                context.kept.keep(kept);
                return Ok(status);
            }
        }
        let mut connection = context.open(origin).await?;
        let status = status_over(context, &mut connection, origin, parameters).await?;
        context.kept.keep(connection);
        Ok(status)
    };
    let limit = limit + context.time_on_the_way(origin);
    within(|| limit, context.reachability.repeat(origin, status))
        .await
        .ok_or(ClientError::Timeout(limit))?
}

/// Requests a stream's status from one origin over `connection`. Returns `None` when the origin is this media node.
pub(super) async fn status_over(
    context: &RelayContext,
    connection: &mut NodeConnection,
    origin: SocketAddr,
    parameters: &Parameters,
) -> Result<Option<OriginStatus>, ClientError> {
    let uri = parameters.uri(PUBLICATION);
    let sent = Instant::now();
    let response = connection.send(Method::GET, &uri, empty()).await?;
    if parameters.wait.is_zero() && !parameters.indirect {
        context.observe_round_trip(origin, sent.elapsed());
    }
    let node = response.headers().get(NODE).cloned();
    let node = node.ok_or_else(|| ClientError::Response("not a media node".to_owned()))?;
    if node == context.node {
        return Ok(None);
    }
    let live = match response.status() {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        status => return Err(ClientError::Response(format!("status {status}"))),
    };
    Ok(Some(OriginStatus {
        origin,
        node,
        live,
        publication: json(response).await?,
    }))
}

/// Returns the status of an origin that has a publication of an encoder, or had it.
#[cfg(test)]
pub(super) fn status_for_test(live: bool, epoch: u64, sequence: u64) -> OriginStatus {
    let source = if live { "forwarded" } else { "" };
    OriginStatus {
        origin: ([127, 0, 0, 1], 9090).into(),
        node: HeaderValue::from_static("node"),
        live,
        publication: PublicationStatus {
            epoch,
            sequence,
            source: source.to_owned(),
            ..PublicationStatus::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An origin that was cut off has the first 100 messages of a publication since then. Another one has this status.
    fn cut_off_since(silent_milliseconds: u64, other: OriginStatus) -> Survey {
        let mut cut_off = status_for_test(true, 5, 100);
        cut_off.publication.silent_milliseconds = silent_milliseconds;
        Survey {
            replies: vec![cut_off, other],
            silent: 0,
        }
    }

    #[test]
    fn publication_that_has_ended_at_another_origin_is_not_found_where_it_was_before() {
        let survey = cut_off_since(400, status_for_test(false, 5, 101));
        assert!(survey.is_absent());
        let tail = survey.tail(Some((Epoch(5), 100)));
        assert_eq!(tail.map(|it| it.publication.sequence), Some(101));
    }

    #[test]
    fn draining_origin_is_left_once_another_one_has_about_as_much() {
        let draining = |draining, sequence| {
            let mut status = status_for_test(true, 5, sequence);
            status.publication.draining = draining;
            status
        };
        let found = |of_draining, of_other| {
            let survey = Survey {
                replies: vec![draining(true, of_draining), draining(false, of_other)],
                silent: 0,
            };
            survey.newest().map(|it| it.publication.draining)
        };
        assert_eq!(found(1000, 1000 - NEAR), Some(false));
        assert_eq!(found(1000, 1000 - NEAR - 1), Some(true));
        assert_eq!(found(1000, 1001), Some(false));
        let both = [900, 1000].map(|sequence| draining(true, sequence));
        let survey = Survey {
            replies: both.to_vec(),
            silent: 0,
        };
        let newest = survey.newest().map(|it| it.publication.sequence);
        assert_eq!(newest, Some(1000));
    }

    #[test]
    fn publication_is_found_that_another_origin_has_no_more_of() {
        let others = [(5, 100), (4, 900), (6, 1)];
        for (epoch, sequence) in others {
            let survey = cut_off_since(400, status_for_test(false, epoch, sequence));
            assert!(survey.newest().is_some(), "{epoch} {sequence}");
        }
        // It has moved back just now, and gets what it lacks.
        let survey = cut_off_since(399, status_for_test(false, 5, 101));
        assert!(survey.newest().is_some());
    }
}
