//! Looking up streams that this media node does not have. Viewers wait here, and a name takes the place of a stream only when some
//! media node publishes it: names that a client invents keep no stream and no viewer out.
//!
//! Each name is looked up once for all of its viewers, and again after `limits.lookupIntervalMilliseconds`. A limited number of names is
//! asked for at one time, over connections that are kept. A limited number of them has requests that the origins hold until the stream
//! starts; the others find it within that interval.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media_wire::StreamKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::context::RelayContext;
use super::survey::{Survey, SurveyEnd, survey};

/// Names that the origins are asked for at one time. No client is refused beyond it, so it is no limit of the configuration: an origin
/// answers within a round trip, and `limits.maxLookups` names are asked for within a second where that takes 8 ms.
const MAX_SURVEYS: usize = 32;
/// Names whose requests the origins hold. No client is refused beyond it either: viewers of further names see their stream later by
/// an interval of lookups at most, and each request takes a connection of every origin meanwhile.
const MAX_HELD: usize = 64;

/// Time in which the first message of a stream comes that was found.
const FOUND: Duration = Duration::from_secs(3);

/// The names that are looked up. Clones share them.
#[derive(Clone)]
pub(super) struct Lookups {
    context: Arc<RelayContext>,
    names: Arc<Mutex<HashMap<StreamKey, watch::Receiver<LookupState>>>>,
    surveys: Arc<Semaphore>,
    held: Arc<Semaphore>,
}

/// The state of the search for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupState {
    /// The first survey is not complete.
    Searching,
    /// All origins were asked, and none has the stream.
    Missing,
    /// An origin has the stream. The time is when the origins last answered that they do not have it.
    Found(Option<Instant>),
}

/// A stream that viewers waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Appearance {
    /// Whether viewers waited before it was published, and want it from its first message.
    pub(crate) awaited: bool,
    /// When the origins last answered that they do not have it.
    pub(super) missing: Option<Instant>,
}

/// Too many names are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many streams that do not exist are asked for")]
pub(crate) struct TooManyNames;

impl Lookups {
    pub(super) fn new(context: Arc<RelayContext>) -> Self {
        Self {
            context,
            names: Arc::default(),
            surveys: Arc::new(Semaphore::new(MAX_SURVEYS)),
            held: Arc::new(Semaphore::new(MAX_HELD)),
        }
    }

    /// Waits until the stream exists here, or another media node has a publication of it.
    pub(super) async fn appearance(&self, key: &StreamKey) -> Result<Appearance, TooManyNames> {
        // A foreign server has no surveys: its streams are found by playing them.
        if !self.context.settings.rtmp_servers.is_empty() {
            return Ok(Appearance::default());
        }
        let registry = &self.context.registry;
        if registry.find(key).is_some() {
            return Ok(Appearance::default());
        }
        let mut wait = self.context.awaited.wait_for(key);
        // It may have started before the wait.
        if registry.find(key).is_some() {
            return Ok(Appearance::default());
        }
        let mut lookup = self.follow(key)?;
        loop {
            let found = async {
                let is_found = |state: &LookupState| matches!(state, LookupState::Found(_));
                match lookup.wait_for(is_found).await.map(|state| *state) {
                    Ok(LookupState::Found(missing)) => missing,
                    // The media node is alone.
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                missing = found => {
                    let awaited = missing.is_some();
                    return Ok(Appearance { awaited, missing });
                }
                () = wait.started() => if registry.find(key).is_some() {
                    return Ok(Appearance { awaited: true, missing: None });
                },
            }
        }
    }

    /// Waits until all origins were asked and none has the stream. Returns immediately when it is not looked up.
    pub(super) async fn missing(&self, key: &StreamKey) {
        let lookup = self.lock().get(key).cloned();
        let Some(mut lookup) = lookup else { return };
        let is_answered = |state: &LookupState| *state != LookupState::Searching;
        let answer = lookup.wait_for(is_answered).await.map(|state| *state);
        if let Ok(LookupState::Found(_)) = answer {
            // It is pulled now, unless it has ended in the meantime.
            sleep(FOUND).await;
        }
    }

    /// Returns the state of a name, and starts to look it up.
    fn follow(&self, key: &StreamKey) -> Result<watch::Receiver<LookupState>, TooManyNames> {
        if self.context.origins.is_none() {
            return Ok(watch::channel(LookupState::Missing).1);
        }
        let max_names = self.context.settings.limits.get().max_lookups();
        let mut names = self.lock();
        if let Some(lookup) = names.get(key) {
            return Ok(lookup.clone());
        }
        if names.len() >= max_names {
            return Err(TooManyNames);
        }
        let (state, lookup) = watch::channel(LookupState::Searching);
        names.insert(key.clone(), lookup.clone());
        drop(names);
        let (lookups, key) = (self.clone(), key.clone());
        self.context.spawn(move |_| async move {
            Lookup {
                lookups,
                key,
                state,
                missing: None,
                held: None,
            }
            .run()
            .await;
        });
        Ok(lookup)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, watch::Receiver<LookupState>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The search for one name.
struct Lookup {
    lookups: Lookups,
    key: StreamKey,
    state: watch::Sender<LookupState>,
    missing: Option<Instant>,
    /// Right to have the next request held by the origins.
    held: Option<OwnedSemaphorePermit>,
}

impl Lookup {
    async fn run(mut self) {
        let context = Arc::clone(&self.lookups.context);
        let mut backoff = context.backoff();
        loop {
            let (start, mut before) = (Instant::now(), context.before_attempt());
            let survey = self.survey().await;
            if survey.newest().is_some() {
                break;
            }
            if survey.is_absent() {
                self.missing = Some(Instant::now());
            }
            self.state.send_if_modified(|state| {
                std::mem::replace(state, LookupState::Missing) != LookupState::Missing
            });
            let pause = match self.is_held() {
                true => backoff.next(),
                false => context.settings.limits.get().lookup_interval(),
            };
            context.attempt_due(start + pause, &mut before).await;
            if self.forget_unless_wanted() {
                return;
            }
        }
        self.lookups.lock().remove(&self.key);
        self.state.send_replace(LookupState::Found(self.missing));
    }

    async fn survey(&self) -> Survey {
        let context = &self.lookups.context;
        let (_turn, hold) = match &self.held {
            Some(_) => (None, context.timeouts().pull.hold),
            // The semaphore is never closed.
            None => (self.lookups.surveys.acquire().await.ok(), Duration::ZERO),
        };
        survey(context, &self.key, hold, SurveyEnd::Found).await
    }

    /// Returns whether the origins hold the next request. Only a name with viewers needs that.
    fn is_held(&mut self) -> bool {
        if !self.has_viewers() {
            self.held = None;
        } else if self.held.is_none() {
            self.held = Arc::clone(&self.lookups.held).try_acquire_owned().ok();
        }
        self.held.is_some()
    }

    /// Returns whether a viewer follows the name. The table always does.
    fn has_viewers(&self) -> bool {
        self.state.receiver_count() > 1
    }

    fn forget_unless_wanted(&self) -> bool {
        let mut names = self.lookups.lock();
        let unwanted = !self.has_viewers();
        if unwanted {
            names.remove(&self.key);
        }
        unwanted
    }
}
