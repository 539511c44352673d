//! Slates, on an origin: a clip in streams that wait for an encoder, for as long as their viewers wait.
//!
//! A slate is no encoder's publication: it is never on air, and every other publication takes its place, also one that is older.
//! The stream's time to wait goes on, and ends it.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use media_engine::{DuplicatePolicy, Epoch, Publication, PublicationSource, Stream};
use media_wire::StreamKey;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use super::conflict::epoch_after;
use super::context::RelayContext;
use super::protocol::Parameters;
use super::survey::{OriginStatus, Survey, SurveyEnd, survey};
use crate::slate::{Slate, SlateClip};

/// Time after which an encoder that was at another origin is taken to be gone with it. Its edge forwards to another origin long before.
const LOST: Duration = Duration::from_secs(5);

/// Interval at which an origin with a slate asks the others whether one of them has an encoder.
const LOOK: Duration = Duration::from_secs(1);

/// The slates of a media node. Clones share them.
#[derive(Clone)]
pub(super) struct Slates {
    context: Arc<RelayContext>,
    /// The streams that have one, or get one.
    active: Arc<Mutex<HashSet<StreamKey>>>,
    /// When another origin last had an encoder of a stream that waits here.
    elsewhere: Arc<Mutex<HashMap<StreamKey, Instant>>>,
}

impl Slates {
    pub(super) fn new(context: Arc<RelayContext>) -> Self {
        Self {
            context,
            active: Arc::default(),
            elsewhere: Arc::default(),
        }
    }

    /// Begins a slate in each stream that waits for an encoder.
    pub(super) fn begin(&self) {
        let Some(slate) = &self.context.settings.slate else {
            return;
        };
        self.elsewhere.lock().retain(|_, at| at.elapsed() < LOST);
        for stream in self.context.registry.waiting() {
            if !self.active.lock().insert(stream.key().clone()) {
                continue;
            }
            let (slates, slate) = (self.clone(), slate.clone());
            self.context.spawn(move |_| async move {
                slates.feed(&stream, &slate).await;
                slates.active.lock().remove(stream.key());
            });
        }
    }

    /// Feeds the slate into a stream until that ends or another publication has it.
    async fn feed(&self, stream: &Arc<Stream>, slate: &Slate) {
        let (context, key) = (&self.context, stream.key());
        let survey = survey(context, &Parameters::of(key), SurveyEnd::All).await;
        if survey.newest().is_some() {
            self.elsewhere.lock().insert(key.clone(), Instant::now());
            return;
        }
        // An origin that does not reply may hang, or its edge may be about to move here.
        let may_be_elsewhere = survey.silent > 0 && self.elsewhere.lock().contains_key(key);
        if may_be_elsewhere || !has_newest_copy(&survey, stream.position()) {
            return;
        }
        // It is kept as long as the clip that is made of it.
        let newest;
        let clip = match slate {
            Slate::Clip(clip) => Arc::clone(clip),
            Slate::LastKeyframe => {
                let Some(it) = stream.newest_keyframe() else {
                    return;
                };
                newest = it;
                let (headers, audio) = (&newest.headers, newest.audio.as_ref());
                Arc::new(SlateClip::of_keyframe(headers, audio, &newest.keyframe))
            }
        };
        let epoch = epoch_after(context, key, &survey);
        let (source, policy) = (PublicationSource::Slate, DuplicatePolicy::Reject);
        let now = Instant::now().into_std();
        let published = context.registry.publish(key, epoch, source, policy, now);
        let Ok(publication) = published else {
            return;
        };
        context.awaited.notify(key);
        info!(stream = %key, epoch = epoch.0, "slate started");
        tokio::select! {
            () = play(publication, &clip) => {}
            () = self.encoder_elsewhere(key) => {}
        }
        info!(stream = %key, "slate ended");
    }

    /// Waits until another origin has an encoder of a stream, as where this one was cut off. When that encoder has ended, the slate that
    /// began here would be older than what viewers have seen since.
    async fn encoder_elsewhere(&self, key: &StreamKey) {
        loop {
            sleep(LOOK).await;
            let survey = survey(&self.context, &Parameters::of(key), SurveyEnd::All).await;
            if survey.newest().is_some_and(OriginStatus::has_encoder) {
                return;
            }
        }
    }
}

/// Returns whether no other origin that replies had more of the stream.
fn has_newest_copy(survey: &Survey, position: Option<(Epoch, u64)>) -> bool {
    let elsewhere = survey.replies.iter();
    let elsewhere = elsewhere.map(|reply| (reply.epoch(), reply.publication.sequence));
    elsewhere.max() <= position
}

/// Appends the clip's messages when they are due.
async fn play(mut publication: Publication, clip: &SlateClip) {
    let mut superseded = pin!(publication.superseded());
    let mut states = publication.stream().watch();
    let start = Instant::now();
    for message in clip.repeated() {
        let due = start + Duration::from_millis(message.timestamp.into());
        while Instant::now() < due {
            let pulse = publication.pulse(Instant::now().into_std());
            let pulse = pulse.map(Instant::from_std).filter(|pulse| *pulse < due);
            tokio::select! {
                () = &mut superseded => return,
                _ = states.wait_for(|state| state.ended) => return,
                () = sleep_until(pulse.unwrap_or(due)) => {}
            }
        }
        publication.append(message);
    }
}
