//! Looking up streams that this media node does not have. Viewers wait here, and a name takes the place of a stream only when some
//! media node publishes it: names that a client invents keep no stream and no viewer out.
//!
//! Each name is looked up once for all of its viewers, and again after `limits.lookupIntervalMilliseconds`. A limited number of names is
//! asked for at one time, over connections that are kept. A limited number of them has requests that the origins hold until the stream
//! starts; the others find it within that interval. The addresses of viewers share both numbers, and that of all names: those that one
//! of them invents neither delay nor refuse those of another one. A name is kept for an interval after its last viewer has left, as
//! others ask for it again, unless its place is needed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use media_wire::StreamKey;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::context::RelayContext;
use super::protocol::Parameters;
use super::survey::{Survey, search};
use crate::networks::client_network;
use crate::turns::{Turn, TurnSender, Turns, one_turn};

/// Names that the origins are asked for at one time, half of them for one address. No client is refused beyond it, so it is no limit of
/// the configuration: an origin answers within a round trip, and an address can ask for `limits.maxLookups` names within a second where
/// that takes 8 ms.
const MAX_SURVEYS: usize = 64;
/// Names whose requests the origins hold, half of them for one address. No client is refused beyond it either: viewers of further names
/// see their stream later by an interval of lookups at most, and each request takes a connection of every origin meanwhile.
const MAX_HELD: usize = 128;
/// Addresses of viewers that count for one name. One that asks for many names would need as many addresses to delay this one.
const MAX_ADDRESSES: usize = 8;

/// Time in which the first message of a stream comes that was found.
const FOUND: Duration = Duration::from_secs(3);

/// The names that are looked up. Clones share them.
#[derive(Clone)]
pub(super) struct Lookups {
    context: Arc<RelayContext>,
    names: Arc<Mutex<HashMap<StreamKey, Name>>>,
    /// Places of names: `limits.maxLookups`.
    places: Turns,
    surveys: Turns,
    held: Turns,
}

/// A name that is looked up.
struct Name {
    /// Each of its viewers follows it.
    state: watch::Sender<LookupState>,
    /// The networks of its viewers. Each of them has a turn for it.
    addresses: Vec<IpAddr>,
    /// Where the last survey has waited for its turn.
    turn: Option<TurnSender>,
    /// The place of the viewer that has asked for it first.
    _place: Turn,
    /// Ends its search.
    _removed: DropGuard,
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
        let max_names = context.settings.limits.get().max_lookups();
        Self {
            context,
            names: Arc::default(),
            places: Turns::new(max_names),
            surveys: Turns::new(MAX_SURVEYS),
            held: Turns::new(MAX_HELD),
        }
    }

    /// Waits until the stream exists here, or another media node has a publication of it. `viewer` is who waits.
    pub(super) async fn appearance(
        &self,
        key: &StreamKey,
        viewer: IpAddr,
    ) -> Result<Appearance, TooManyNames> {
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
        let mut lookup = self.follow(key, viewer)?;
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
        let follow = |name: &Name| name.state.subscribe();
        let lookup = self.names.lock().get(key).map(follow);
        let Some(mut lookup) = lookup else { return };
        let is_answered = |state: &LookupState| *state != LookupState::Searching;
        let answer = lookup.wait_for(is_answered).await.map(|state| *state);
        if let Ok(LookupState::Found(_)) = answer {
            // It is pulled now, unless it has ended in the meantime.
            sleep(FOUND).await;
        }
    }

    /// Returns the state of a name, and starts to look it up.
    fn follow(
        &self,
        key: &StreamKey,
        viewer: IpAddr,
    ) -> Result<watch::Receiver<LookupState>, TooManyNames> {
        if self.context.origins.is_none() {
            return Ok(watch::channel(LookupState::Missing).1);
        }
        let address = client_network(viewer);
        let mut names = self.names.lock();
        if let Some(name) = names.get_mut(key) {
            self.add_address(name, address);
            return Ok(name.state.subscribe());
        }
        let place = self.place(&mut names, viewer).ok_or(TooManyNames)?;
        let (state, lookup) = watch::channel(LookupState::Searching);
        let removed = CancellationToken::new();
        let name = Name {
            state: state.clone(),
            addresses: vec![address],
            turn: None,
            _place: place,
            _removed: removed.clone().drop_guard(),
        };
        names.insert(key.clone(), name);
        drop(names);
        let (lookups, key) = (self.clone(), key.clone());
        self.context.spawn(move |_| async move {
            let lookup = Lookup {
                lookups,
                key,
                state,
                missing: None,
                held: None,
            };
            removed.run_until_cancelled(lookup.run()).await;
        });
        Ok(lookup)
    }

    /// Returns a place for a name of this viewer, that of a name without viewers if there is no other.
    fn place(&self, names: &mut HashMap<StreamKey, Name>, viewer: IpAddr) -> Option<Turn> {
        self.places
            .set_count(self.context.settings.limits.get().max_lookups());
        self.places.try_of(viewer).or_else(|| {
            names.retain(|_, name| name.state.receiver_count() > 0);
            self.places.try_of(viewer)
        })
    }

    /// Adds an address to those of a name. A survey that waits for a turn does so at this address as well: another one may have asked for
    /// the name after many others.
    fn add_address(&self, name: &mut Name, address: IpAddr) {
        if name.addresses.len() >= MAX_ADDRESSES || name.addresses.contains(&address) {
            return;
        }
        name.addresses.push(address);
        if let Some(turn) = &name.turn {
            self.surveys.send_to(address, turn.clone());
        }
    }

    /// Waits until one of a name's viewers has a turn.
    async fn turn_of(&self, key: &StreamKey) -> Option<Turn> {
        let (sender, mut turn) = one_turn();
        if let Some(name) = self.names.lock().get_mut(key) {
            for address in &name.addresses {
                self.surveys.send_to(*address, sender.clone());
            }
            name.turn = Some(sender);
        }
        turn.recv().await
    }

    /// Returns the right to have a request for a name held by the origins, if one of its viewers may have that.
    fn hold(&self, key: &StreamKey) -> Option<Turn> {
        let names = self.names.lock();
        let mut addresses = names.get(key)?.addresses.iter();
        addresses.find_map(|address| self.held.try_of(*address))
    }
}

/// The search for one name.
struct Lookup {
    lookups: Lookups,
    key: StreamKey,
    state: watch::Sender<LookupState>,
    missing: Option<Instant>,
    /// Right to have the next request held by the origins.
    held: Option<Turn>,
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
            let pause = if self.is_held() {
                backoff.next()
            } else {
                context.settings.limits.get().lookup_interval()
            };
            context.attempt_due(start + pause, &mut before).await;
            if self.forget_unless_wanted() {
                return;
            }
        }
        self.forget(&mut self.lookups.names.lock());
        self.state.send_replace(LookupState::Found(self.missing));
    }

    async fn survey(&self) -> Survey {
        let context = &self.lookups.context;
        let (_turn, hold) = match &self.held {
            Some(_) => (None, context.timeouts().pull.hold),
            None => (self.lookups.turn_of(&self.key).await, Duration::ZERO),
        };
        let parameters = Parameters {
            wait: hold,
            ..Parameters::of(&self.key)
        };
        search(context, &parameters).await
    }

    /// Returns whether the origins hold the next request. Only a name with viewers needs that.
    fn is_held(&mut self) -> bool {
        if !self.has_viewers() {
            self.held = None;
        } else if self.held.is_none() {
            self.held = self.lookups.hold(&self.key);
        }
        self.held.is_some()
    }

    fn has_viewers(&self) -> bool {
        self.state.receiver_count() > 0
    }

    fn forget_unless_wanted(&self) -> bool {
        let mut names = self.lookups.names.lock();
        let unwanted = !self.has_viewers();
        if unwanted {
            self.forget(&mut names);
        }
        unwanted
    }

    /// Removes the name, unless it has lost its place to another one before.
    fn forget(&self, names: &mut HashMap<StreamKey, Name>) {
        let is_own = |name: &Name| name.state.same_channel(&self.state);
        if names.get(&self.key).is_some_and(is_own) {
            names.remove(&self.key);
        }
    }
}
