//! Pulling streams that have viewers here and are published elsewhere: one task for each stream, for all of its viewers.
//!
//! ```text
//!   viewers ──▶ survey the origins ──▶ pull the newest publication ──▶ no viewers: linger, end
//!                 ▲      │ not found              │
//!                 └──────┘ (origins hold the      │ ended, lost, silent or moved
//!                 ▲         next survey)          │
//!                 └───────────────────────────────┘
//! ```
//!
//! While the stream is published here, the task only waits. The engine decides how long viewers stay without a
//! publication; the task searches for as long as there are viewers.

mod demand;
mod direct;
mod servers;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use media_engine::{PublicationSearch, ReaderCounts, Stream, StreamState};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use super::active_relay::ActiveRelay;
use super::backoff::Backoff;
use super::context::{RelayContext, is_published};
use super::protocol::Parameters;
use super::survey::{OriginStatus, search};
use demand::{Demand, SearchState};
use servers::pull_from_servers;
use session::{PullEnd, PullHistory, PullSession};

/// The pulls of a media node, by stream. Clones share them.
#[derive(Clone)]
pub(super) struct Pulls {
    context: Arc<RelayContext>,
    demands: Arc<Mutex<HashMap<StreamKey, Demand>>>,
}

impl Pulls {
    pub(super) fn new(context: Arc<RelayContext>) -> Self {
        Self {
            context,
            demands: Arc::default(),
        }
    }

    /// Pulls the stream whenever it is not published here, until it has no viewers. `absent` is when the origins last answered
    /// that they do not have it.
    pub(super) fn demand(&self, stream: &Arc<Stream>, absent: Option<Instant>) {
        if self.context.origins.is_none() && self.context.settings.rtmp_servers.is_empty() {
            return;
        }
        let mut demands = self.demands.lock();
        let existing = demands.get(stream.key());
        if existing.is_some_and(|demand| demand.is_for(stream)) {
            return;
        }
        let task = PullTask::new(self.clone(), Arc::clone(stream), absent);
        demands.insert(stream.key().clone(), task.demand());
        drop(demands);
        self.context.spawn(move |_| task.run());
    }

    /// Waits until all origins were surveyed and none has the stream. Returns immediately when there is no demand for it.
    pub(super) async fn not_found(&self, key: &StreamKey) {
        let demand = self.demands.lock().get(key).cloned();
        if let Some(demand) = demand {
            demand.not_found().await;
        }
    }
}

/// The task of one stream.
struct PullTask {
    pulls: Pulls,
    stream: Arc<Stream>,
    states: watch::Receiver<StreamState>,
    readers: watch::Receiver<ReaderCounts>,
    search: watch::Sender<SearchState>,
    /// While the publication may only have moved, its viewers stay.
    moves: Option<PublicationSearch>,
    /// Whether messages were pulled before.
    pulled: bool,
    /// Whether viewers have received the stream, and stayed.
    watched: bool,
    /// Whether the last connection stalled.
    stalled: bool,
    /// When the last pull was lost, or an encoder's publication here was over. It may be on the way to an origin.
    moves_since: Option<Instant>,
    /// The publication that took over from the one that was here.
    successor: Option<Epoch>,
    /// When all origins last replied that they have no publication.
    absent: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PullNeed {
    /// The stream has viewers, and no publication here.
    Pull,
    /// The stream has viewers, and is published here.
    Wait,
    /// The stream has no viewers.
    None,
}

/// When a pull is tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextAttempt {
    Now,
    AfterBackoff,
}

fn need(state: &StreamState, readers: ReaderCounts) -> PullNeed {
    if readers.viewers == 0 || state.ended {
        return PullNeed::None;
    }
    if is_published(state) {
        PullNeed::Wait
    } else {
        PullNeed::Pull
    }
}

impl PullTask {
    fn new(pulls: Pulls, stream: Arc<Stream>, absent: Option<Instant>) -> Self {
        let (states, readers) = (stream.watch(), stream.watch_readers());
        Self {
            pulls,
            stream,
            states,
            readers,
            search: watch::Sender::new(SearchState::Searching),
            moves: None,
            pulled: false,
            watched: false,
            stalled: false,
            moves_since: None,
            successor: None,
            absent,
        }
    }

    fn demand(&self) -> Demand {
        Demand::new(&self.stream, self.search.subscribe())
    }

    async fn run(mut self) {
        loop {
            self.pull_while_needed().await;
            // A viewer that joined meanwhile has not started another task, because it found this one in the table.
            let mut demands = self.pulls.demands.lock();
            if need(&self.stream.state(), self.stream.readers()) == PullNeed::None {
                demands.retain(|_, demand| !demand.is_for(&self.stream));
                return;
            }
        }
    }

    /// Pulls whenever the stream needs it, until it has no viewers.
    async fn pull_while_needed(&mut self) {
        let context = Arc::clone(&self.pulls.context);
        let mut backoff = context.backoff();
        let mut hold = Duration::ZERO;
        loop {
            match self.need() {
                PullNeed::None => return,
                PullNeed::Wait => {
                    self.watched = true;
                    self.moves = None;
                    let is_slate = self.has_slate();
                    self.need_changed().await;
                    let moves = !is_slate && !self.was_rejected();
                    self.moves_since = moves.then(Instant::now);
                    self.successor = (!is_slate).then(|| self.stream.on_air());
                    continue;
                }
                PullNeed::Pull => {}
            }
            let (start, mut before) = (Instant::now(), context.before_attempt());
            let next = if context.settings.rtmp_servers.is_empty() {
                self.try_origins(&mut hold, &mut backoff).await
            } else {
                self.try_servers(&mut backoff).await
            };
            if next == NextAttempt::Now {
                continue;
            }
            tokio::select! {
                () = context.attempt_due(start + backoff.next(), &mut before) => {}
                () = self.no_pull_needed() => {}
            }
        }
    }

    /// Surveys the origins, which hold the survey for up to `hold`, and pulls the newest publication.
    async fn try_origins(&mut self, hold: &mut Duration, backoff: &mut Backoff) -> NextAttempt {
        let context = Arc::clone(&self.pulls.context);
        let position = self.stream.position().filter(|_| self.watched);
        let parameters = Parameters {
            wait: *hold,
            ..Parameters::needing(self.stream.key(), position)
        };
        if self.pulled {
            // Viewers wait for the stream, which may return at an origin that is new.
            context.search_origins();
        }
        let survey = tokio::select! {
            survey = search(&context, &parameters) => survey,
            () = self.no_pull_needed() => return NextAttempt::Now,
        };
        let held = std::mem::replace(hold, context.timeouts().pull.hold);
        if survey.is_absent() {
            self.absent = Some(Instant::now());
        }
        let mut lacks_tail = false;
        let tail = survey.tail(self.stream.position());
        if let Some(over) = tail.filter(|_| self.watched) {
            let (end, _) = self.pull_once(over).await;
            lacks_tail = end.is_failure();
        }
        let Some(status) = survey.newest() else {
            self.search.send_replace(SearchState::NotFound);
            if !self.may_move() {
                self.moves = None;
            }
            if lacks_tail {
                *hold = Duration::ZERO;
                return NextAttempt::AfterBackoff;
            }
            return if held.is_zero() {
                NextAttempt::Now
            } else {
                NextAttempt::AfterBackoff
            };
        };
        self.search.send_replace(SearchState::Found);
        if self.is_outdated(status) {
            return NextAttempt::AfterBackoff;
        }
        // The publication may be over afterwards, and an origin that waits for another one would say so late.
        *hold = Duration::ZERO;
        if !self.pull_from(status.clone()).await {
            return NextAttempt::AfterBackoff;
        }
        backoff.reset();
        NextAttempt::Now
    }

    /// Returns whether a publication is earlier than the one that viewers have seen and that is on the way to an origin. An origin may
    /// have the earlier one that does not know of the later one yet.
    fn is_outdated(&self, status: &OriginStatus) -> bool {
        let seen = self.stream.position().map(|(epoch, _)| epoch);
        self.may_move() && seen > Some(status.epoch())
    }

    /// Returns whether a publication that viewers have seen may be on the way to an origin.
    fn may_move(&self) -> bool {
        let limit = self.pulls.context.timeouts().pull.moves;
        self.moves_since.is_some_and(|it| it.elapsed() < limit)
    }

    /// Pulls from the first RTMP server that sends the stream.
    async fn try_servers(&mut self, backoff: &mut Backoff) -> NextAttempt {
        let context = Arc::clone(&self.pulls.context);
        let found = pull_from_servers(&context, &self.stream).await;
        self.search.send_replace(if found {
            SearchState::Found
        } else {
            SearchState::NotFound
        });
        if found {
            backoff.reset();
        }
        NextAttempt::AfterBackoff
    }

    fn need(&mut self) -> PullNeed {
        let readers = *self.readers.borrow_and_update();
        need(&self.states.borrow_and_update(), readers)
    }

    /// Returns whether a publication has taken over from the one that was here, which is older.
    fn is_successor(&self, epoch: Epoch) -> bool {
        let had = self.stream.position().map(|(epoch, _)| epoch);
        self.successor == Some(epoch) && had < Some(epoch)
    }

    /// Returns whether the publication that viewers have seen here was rejected by an origin, which has an earlier one.
    fn was_rejected(&self) -> bool {
        let rejected = self.pulls.context.rejected.of(self.stream.key());
        let seen = self.stream.position().map(|(epoch, _)| epoch);
        rejected.is_some() && rejected == seen
    }

    /// Returns whether viewers get a slate of this media node, which any encoder replaces, also one that began before it.
    fn has_slate(&self) -> bool {
        let publication = self.states.borrow().publication;
        publication.is_some_and(|publication| publication.source.is_slate())
    }

    /// Waits until the need may be another one than at the last call of [`PullTask::need`].
    async fn need_changed(&mut self) {
        // The senders live as long as the stream, which the task holds.
        tokio::select! {
            _ = self.states.changed() => {}
            _ = self.readers.changed() => {}
        }
    }

    async fn no_pull_needed(&mut self) {
        while self.need() == PullNeed::Pull {
            self.need_changed().await;
        }
    }

    /// Pulls from one origin, and from those that the publication moves to. Returns whether the last one sent messages.
    async fn pull_from(&mut self, mut status: OriginStatus) -> bool {
        loop {
            let (end, messages) = self.pull_once(&status).await;
            status = match end {
                PullEnd::Moved(next) if messages > 0 => *next,
                _ => return messages > 0,
            };
        }
    }

    /// Pulls from one origin until the pull ends. Returns the number of messages with the end.
    async fn pull_once(&mut self, status: &OriginStatus) -> (PullEnd, u64) {
        let context = Arc::clone(&self.pulls.context);
        let _active = ActiveRelay::new(&context.metrics.pulls);
        let (stream, origin) = (self.stream.key().clone(), status.origin);
        let from_start = context.timeouts().pull.from_start;
        self.moves.get_or_insert_with(|| self.stream.search());
        let history = PullHistory {
            pulled: self.pulled,
            watched: self.watched,
            awaited: self
                .absent
                .is_some_and(|absent| absent.elapsed() < from_start),
            stalled: self.stalled,
            succeeds: self.is_successor(status.epoch()),
        };
        let mut session = PullSession::new(&context, &self.stream, status, history);
        let end = session.run().await;
        let messages = session.messages();
        self.pulled |= messages > 0;
        self.watched |= messages > 0;
        self.successor.take_if(|_| messages > 0);
        self.moves_since = end.is_failure().then(Instant::now);
        self.stalled = match &end {
            PullEnd::Moved(next) => {
                let was_indirect = status.publication.indirect;
                next.origin == origin && next.publication.indirect == was_indirect
            }
            PullEnd::NoResponse(_) => true,
            _ => false,
        };
        match &end {
            PullEnd::NoResponse(limit) => {
                context.metrics.failures.inc();
                info!(%stream, %origin, ?limit, "no response to a pull");
            }
            PullEnd::Lost(reason) => {
                context.metrics.failures.inc();
                info!(%stream, %origin, messages, reason, "pull lost");
            }
            PullEnd::Outdated => debug!(%stream, %origin, "the origin's publication is outdated"),
            PullEnd::Moved(next) => {
                let indirect = next.publication.indirect;
                info!(%stream, %origin, messages, to = %next.origin, indirect, "pull moves");
            }
            end => info!(%stream, %origin, messages, ?end, "pull ended"),
        }
        (end, messages)
    }
}
