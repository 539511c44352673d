//! Conflicts between publications of one stream: which epoch a new publication gets, and whether it may start.

use std::time::Duration;

use media_config::{DuplicatePublish, Role};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep};

use super::contest::{Contender, CurrentPublication, PublicationHolder, Resolution, SwitchReason};
use super::context::{RelayContext, is_published};
use super::protocol::Parameters;
use super::rejection::PublishRejection;
use super::survey::{OriginStatus, Survey, SurveyEnd, survey_within};
use crate::host;

/// Resolves the conflict of an encoder that has just connected. If it would stand by, it waits for a moment and tries again: it may be
/// faster than the news that it, or the one before it, has ended elsewhere, and who stands by waits for a keyframe.
///
/// # Errors
/// As [`resolve_conflict`].
pub(super) async fn resolve_first(
    context: &RelayContext,
    key: &StreamKey,
    contender: &Contender,
) -> Result<Resolution, PublishRejection> {
    let (begin, mut backoff) = (Instant::now(), context.backoff());
    loop {
        let resolution = resolve_conflict(context, key, contender).await?;
        let is_late = begin.elapsed() >= context.timeouts().conflict.end;
        if is_late || matches!(resolution, Resolution::OnAir(..)) {
            return Ok(resolution);
        }
        sleep(backoff.next()).await;
    }
}

/// Returns whether an encoder may publish `key`, and with which epoch.
///
/// The new epoch is higher than all that the origins know of the stream: with a clock that is ahead elsewhere, the new
/// publication must not look older than the previous one. With policy `reject`, an existing publication rejects the
/// encoder. With policy `standby`, it may let the encoder wait.
///
/// An origin accepts the encoder even if no other origin replies. An edge that reaches no origin rejects it, because
/// no other media node could serve the stream and the encoder would not notice. If the stream has viewers on the edge, the
/// encoder is accepted for them, and the stream is forwarded as soon as there is an origin.
///
/// # Errors
/// The reason for which the encoder is rejected.
pub(super) async fn resolve_conflict(
    context: &RelayContext,
    key: &StreamKey,
    contender: &Contender,
) -> Result<Resolution, PublishRejection> {
    let settings = &context.settings.stream;
    let reject = settings.duplicate_publish == DuplicatePublish::Reject;
    if reject && on_air_here(context, key).is_some() {
        return Err(PublishRejection::AlreadyPublished);
    }
    let survey = match &context.origins {
        Some(_) => reach_origins(context, key).await?,
        None => Survey::default(),
    };
    let on_air = on_air(context, key, &survey);
    let reason = match settings.duplicate_publish {
        DuplicatePublish::Reject if on_air.is_some() => {
            return Err(PublishRejection::AlreadyPublished);
        }
        DuplicatePublish::Takeover | DuplicatePublish::Reject => SwitchReason::Preferred,
        DuplicatePublish::Standby => {
            let is_over = |previous: &CurrentPublication| is_over(context, key, &survey, previous);
            match contender.compare(on_air, is_over, settings.failover_after()) {
                Ok(reason) => reason,
                Err(on_air) => return Ok(Resolution::Standby(on_air)),
            }
        }
    };
    let epoch = epoch_after(context, key, &survey);
    Ok(Resolution::OnAir(epoch, reason))
}

/// Returns an epoch above all that are known here and were found by a survey.
pub(super) fn epoch_after(context: &RelayContext, key: &StreamKey, survey: &Survey) -> Epoch {
    let elsewhere = survey.replies.iter().map(OriginStatus::epoch);
    let latest = elsewhere
        .chain(latest_here(context, key))
        .chain(successor(context, key, survey).map(|(epoch, _)| epoch))
        .max();
    next_epoch(latest, now(), host::random(key))
}

/// Returns the newest publication in the cluster.
fn on_air(context: &RelayContext, key: &StreamKey, survey: &Survey) -> Option<CurrentPublication> {
    let elsewhere = survey.newest().filter(|newest| newest.has_encoder());
    let elsewhere = elsewhere.map(|status| CurrentPublication {
        epoch: status.epoch(),
        priority: status.publication.priority,
        silent_since: before(Duration::from_millis(
            status.publication.silent_milliseconds,
        )),
        holder: PublicationHolder::Origin {
            node: status.node.clone(),
            sequence: status.publication.sequence,
        },
    });
    // It is not known yet how good its encoder is.
    let successor = successor(context, key, survey).map(|(epoch, holder)| CurrentPublication {
        epoch,
        priority: u8::MAX,
        silent_since: Instant::now(),
        holder,
    });
    // This media node knows most about an encoder that publishes here and is forwarded.
    let here = on_air_here(context, key);
    successor
        .into_iter()
        .chain(elsewhere)
        .chain(here)
        .max_by_key(|on_air| on_air.epoch)
}

/// Returns the epoch of a publication that some origin waits for, and that origin: it may be over before another survey.
fn successor(
    context: &RelayContext,
    key: &StreamKey,
    survey: &Survey,
) -> Option<(Epoch, PublicationHolder)> {
    let awaited = survey
        .replies
        .iter()
        .filter(|it| it.publication.successor > 0);
    let elsewhere = awaited.map(|reply| {
        let holder = PublicationHolder::Origin {
            node: reply.node.clone(),
            sequence: 0,
        };
        (Epoch(reply.publication.successor), holder)
    });
    let here = context.successors.of(key);
    let here = here.map(|epoch| (epoch, PublicationHolder::Here));
    elsewhere.chain(here).max_by_key(|(epoch, _)| *epoch)
}

fn on_air_here(context: &RelayContext, key: &StreamKey) -> Option<CurrentPublication> {
    let stream = context.registry.find(key)?;
    let state = stream.state();
    let publication = state
        .publication
        .filter(|publication| is_published(&state) && !publication.source.is_slate())?;
    let silence = stream.silence(Instant::now().into_std());
    Some(CurrentPublication {
        epoch: publication.epoch,
        priority: publication.priority,
        silent_since: before(silence.unwrap_or_default()),
        holder: PublicationHolder::Here,
    })
}

/// Returns whether a publication is over, when a survey has found none: the media node that had it reports that, or an origin that it moved
/// to meanwhile.
fn is_over(
    context: &RelayContext,
    key: &StreamKey,
    survey: &Survey,
    previous: &CurrentPublication,
) -> bool {
    match &previous.holder {
        PublicationHolder::Here => on_air_here(context, key).is_none(),
        PublicationHolder::Origin { node, sequence } => {
            let mut replies = survey.replies.iter();
            replies.any(|reply| reply.node == *node && !reply.has_encoder())
                || survey.end_of(previous.epoch) > Some(*sequence)
        }
        PublicationHolder::Unknown => false,
    }
}

/// Returns the instant at which a silence of this length began.
fn before(silence: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(silence).unwrap_or(now)
}

/// Returns the epoch of a publication that begins here now, above all that are known here.
pub(super) fn local_epoch(context: &RelayContext, key: &StreamKey) -> Epoch {
    next_epoch(latest_here(context, key), now(), host::random(key))
}

fn latest_here(context: &RelayContext, key: &StreamKey) -> Option<Epoch> {
    let (epoch, _) = context.registry.find(key)?.position()?;
    Some(epoch)
}

fn has_viewers(context: &RelayContext, key: &StreamKey) -> bool {
    let stream = context.registry.find(key);
    stream.is_some_and(|stream| stream.readers().viewers > 0)
}

async fn reach_origins(
    context: &RelayContext,
    key: &StreamKey,
) -> Result<Survey, PublishRejection> {
    let timeouts = context.timeouts().conflict;
    if let Some(origins) = &context.origins
        && !has_viewers(context, key)
    {
        // A media node that has just started may not have resolved their name.
        origins.known(timeouts.resolve).await;
    }
    let parameters = Parameters::of(key);
    let mut backoff = context.backoff();
    let mut limit = context.timeouts().survey.status;
    let mut waited = Duration::ZERO;
    loop {
        let (begin, mut before) = (Instant::now(), context.before_attempt());
        let survey = survey_within(context, &parameters, SurveyEnd::All, limit).await;
        if !survey.replies.is_empty() || context.settings.role == Role::Origin {
            return Ok(survey);
        }
        if has_viewers(context, key) {
            return Ok(survey);
        }
        // Counted in limits: this media node may be the one that is late.
        waited += begin.elapsed().min(limit);
        if waited >= timeouts.reach {
            return Err(PublishRejection::NoOrigin);
        }
        let pause = backoff.next();
        waited += pause;
        context
            .attempt_due(Instant::now() + pause, &mut before)
            .await;
        // A busy origin takes longer, and no less when it is asked again.
        limit = timeouts.reach.min(limit * 2);
    }
}

/// Returns an epoch above `latest` and not before `now`.
fn next_epoch(latest: Option<Epoch>, now: u64, random: u64) -> Epoch {
    let now = Epoch(now);
    latest.map_or(now, |latest| now.max(latest)).next(random)
}

/// Returns the time in microseconds since 1970.
fn now() -> u64 {
    u64::try_from(host::wall_clock().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_epoch_is_above_the_latest_even_if_that_is_in_the_future() {
        for latest in [0, 999, 1_000_000, 5_000_000_000] {
            for random in [0, 1, 4095, u64::MAX] {
                let epoch = next_epoch(Some(Epoch(latest)), 1_000_000, random);
                assert!(epoch.0 > latest && epoch.0 > 1_000_000);
                assert!(epoch.0 <= latest.max(1_000_000) + 2 * 4096);
            }
        }
    }

    #[test]
    fn nodes_with_late_clocks_choose_different_epochs() {
        let latest = Some(Epoch(1 << 40));
        assert_ne!(next_epoch(latest, 5, 17), next_epoch(latest, 6, 18));
    }
}
