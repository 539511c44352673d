//! Pulling a stream that viewers want and that is not published here: one task for each such stream, however many watch.
//!
//! ```text
//!   somebody watches ──▶ ask all origins ──▶ pull from the newest publication ──▶ nobody watches: linger, end
//!                          ▲      │ nobody has it              │
//!                          └──────┘ (they answer as soon       │ ended, lost, silent, or elsewhere
//!                          ▲         as one has)               │
//!                          └───────────────────────────────────┘
//! ```
//!
//! While the stream is published here the task only waits. How long viewers stay without a publication is up to the
//! engine; this task asks for as long as they do.

mod session;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use media_engine::{Stream, StreamState};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::body::is_published;
use super::survey::{Answer, Until};
use super::{Backoff, Gauge, Relay};
use session::{History, Session};

/// How long origins hold a question back until they have the stream. Then all are asked again: there may be others now.
const WAIT: Duration = Duration::from_secs(1);

/// A publication that began so long ago at most, while viewers waited for it, is pulled from its beginning. Of one that was
/// found later they get the newest pictures: they would be that much late for as long as they watch.
const YOUNG: Duration = Duration::from_secs(5);

/// What is known about a stream that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first answers are not there yet.
    Asking,
    /// Every origin was asked, and none has it.
    Nobody,
    /// It is pulled, or was.
    Found,
}

/// Why a pull ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody watched for as long as a stream lingers.
    Unwanted,
    /// The origin has no publication any more, and said so by ending the answer.
    Over,
    /// The stream is published here now.
    Here,
    /// A newer publication is at another origin, or this one moved there.
    Elsewhere(Box<Answer>),
    /// What the origin has is older than what was known here.
    Outdated,
    /// The origin is gone, hangs or sends nonsense.
    Lost(String),
}

/// The entry of a wanted stream in the table of all of them.
#[derive(Clone)]
pub(super) struct Wanted {
    stream: Weak<Stream>,
    verdict: watch::Receiver<Verdict>,
}

impl Wanted {
    /// Another stream may have got the key of one that ended.
    pub(super) fn is_for(&self, stream: &Arc<Stream>) -> bool {
        std::ptr::eq(self.stream.as_ptr(), Arc::as_ptr(stream))
    }

    pub(super) async fn nobody_has(mut self) {
        // The sender goes when nobody wants the stream any more.
        drop(
            self.verdict
                .wait_for(|verdict| *verdict == Verdict::Nobody)
                .await,
        );
    }
}

/// The task of one stream.
pub(super) struct Wish {
    relay: Relay,
    stream: Arc<Stream>,
    states: watch::Receiver<StreamState>,
    verdict: watch::Sender<Verdict>,
    /// Whether this is not the first pull.
    pulled: bool,
    /// When all origins had last said that they have no publication.
    absent: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Somebody watches, and there is no publication here.
    Pull,
    /// Somebody watches what is published here.
    Wait,
    /// Nobody watches.
    Nothing,
}

fn need(state: &StreamState) -> Need {
    if state.viewers == 0 || state.ended {
        return Need::Nothing;
    }
    match is_published(state) {
        true => Need::Wait,
        false => Need::Pull,
    }
}

impl Wish {
    pub(super) fn new(relay: Relay, stream: Arc<Stream>) -> Self {
        let (states, verdict) = (stream.watch(), watch::Sender::new(Verdict::Asking));
        Self {
            relay,
            stream,
            states,
            verdict,
            pulled: false,
            absent: None,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            stream: Arc::downgrade(&self.stream),
            verdict: self.verdict.subscribe(),
        }
    }

    pub(super) async fn follow(mut self) {
        loop {
            self.serve().await;
            // A viewer that came in between has not started another task: it saw this one in the table.
            let mut wanted = self.relay.wanted();
            if need(&self.stream.state()) == Need::Nothing {
                wanted.retain(|_, wish| !wish.is_for(&self.stream));
                return;
            }
        }
    }

    /// Pulls whenever it is needed, until nobody watches.
    async fn serve(&mut self) {
        let mut backoff = Backoff::new();
        let mut wait = Duration::ZERO;
        loop {
            let need_now = need(&self.states.borrow_and_update());
            match need_now {
                Need::Nothing => return,
                Need::Wait => {
                    if self.states.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Need::Pull => {}
            }
            let asked = Instant::now();
            let relay = self.relay.clone();
            let key = self.stream.key().clone();
            let survey = tokio::select! {
                survey = relay.survey(&key, wait, Until::Found) => survey,
                () = self.no_pull_needed() => continue,
            };
            wait = WAIT;
            if survey.is_absent() {
                self.absent = Some(Instant::now());
            }
            if let Some(answer) = survey.newest() {
                self.verdict.send_replace(Verdict::Found);
                if self.pull_from(answer.clone()).await {
                    backoff.reset();
                    continue;
                }
            } else {
                self.verdict.send_replace(Verdict::Nobody);
            }
            tokio::select! {
                () = sleep_until(asked + backoff.next()) => {}
                () = self.no_pull_needed() => {}
            }
        }
    }

    async fn no_pull_needed(&mut self) {
        // The sender lives as long as the stream, which this holds.
        drop(
            self.states
                .wait_for(|state| need(state) != Need::Pull)
                .await,
        );
    }

    /// Pulls from one origin, and from those that the stream moves to. Returns whether it was worth it.
    async fn pull_from(&mut self, mut answer: Answer) -> bool {
        loop {
            let (ended, messages) = self.pull(&answer).await;
            answer = match ended {
                Ended::Elsewhere(next) if messages > 0 => *next,
                _ => return messages > 0,
            };
        }
    }

    /// Pulls from one origin for as long as it goes.
    async fn pull(&mut self, answer: &Answer) -> (Ended, u64) {
        let _gauge = Gauge::enter(&self.relay, |relay| &relay.pulls);
        let (key, origin) = (self.stream.key().clone(), answer.origin);
        let history = History {
            pulled: self.pulled,
            awaited: self.absent.is_some_and(|absent| absent.elapsed() < YOUNG),
        };
        let mut session = Session::new(&self.relay, &self.stream, answer, history);
        let ended = session.run().await;
        let messages = session.messages();
        self.pulled |= messages > 0;
        match &ended {
            Ended::Lost(reason) => {
                self.relay.0.failures.fetch_add(1, Ordering::Relaxed);
                info!(stream = %key, %origin, messages, reason, "pull lost");
            }
            Ended::Outdated => debug!(stream = %key, %origin, "what the origin has is outdated"),
            Ended::Elsewhere(next) => {
                info!(stream = %key, %origin, messages, to = %next.origin, "pull moves");
            }
            ended => info!(stream = %key, %origin, messages, ?ended, "pull ended"),
        }
        (ended, messages)
    }
}
