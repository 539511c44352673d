//! Whether the operator of a cluster still works, when its Lease may not be read: one that watches a few namespaces only may read no
//! other ones.
//!
//! The operator that asks writes a question into the status of the cluster. The other one answers by removing it, before
//! everything else of its next reconciliation. Every write of a reconciliation follows that check, within
//! [`super::apply::RECONCILIATION_LIMIT`]: an operator that leaves a question unanswered for longer does not write any more.

use std::collections::HashMap;
use std::time::Duration;

use livecluster_api::{ClusterName, OperatorName};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::apply::RECONCILIATION_LIMIT;

/// Time after which a question without an answer means that the operator has stopped.
const ANSWER_LIMIT: Duration = Duration::from_secs(2 * RECONCILIATION_LIMIT.as_secs());
/// Time between an answer and the next question. It bounds the time until a takeover; a shorter one would cause more writes.
const ASK_INTERVAL: Duration = Duration::from_secs(120);

/// What to do about a cluster of another operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeoverStep {
    /// Leave it alone.
    Wait,
    /// Write the question.
    Ask,
    /// Take it over, if nothing has changed since.
    TakeOver,
}

/// The questions about clusters of other operators.
#[derive(Debug, Default)]
pub(super) struct Questions {
    clusters: Mutex<HashMap<ClusterName, Question>>,
}

#[derive(Debug)]
struct Question {
    owner: OperatorName,
    is_open: bool,
    /// When it was asked or answered, or seen after a restart.
    since: Instant,
}

impl Questions {
    /// Returns what to do about a cluster of `owner`, in whose status this operator's question is or is not.
    pub(super) fn step(
        &self,
        cluster: &ClusterName,
        owner: &OperatorName,
        is_open: bool,
        now: Instant,
    ) -> TakeoverStep {
        let mut clusters = self.clusters.lock();
        let known = clusters.get(cluster).filter(|known| known.owner == *owner);
        let (step, since) = match (known, is_open) {
            (Some(known), true) if known.is_open => {
                let has_stopped = now.duration_since(known.since) >= ANSWER_LIMIT;
                let step = if has_stopped {
                    TakeoverStep::TakeOver
                } else {
                    TakeoverStep::Wait
                };
                (step, known.since)
            }
            (_, true) => (TakeoverStep::Wait, now),
            // It was answered.
            (Some(known), false) if known.is_open => (TakeoverStep::Wait, now),
            (Some(known), false) if now.duration_since(known.since) < ASK_INTERVAL => {
                (TakeoverStep::Wait, known.since)
            }
            (_, false) => (TakeoverStep::Ask, now),
        };
        let question = Question {
            owner: owner.clone(),
            is_open: is_open || step == TakeoverStep::Ask,
            since,
        };
        clusters.insert(cluster.clone(), question);
        step
    }

    /// Drops the state of a cluster.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.clusters.lock().remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asker {
        questions: Questions,
        start: Instant,
    }

    impl Asker {
        fn new() -> Self {
            Self {
                questions: Questions::default(),
                start: Instant::now(),
            }
        }

        fn step(&self, is_open: bool, second: u64) -> TakeoverStep {
            let (cluster, owner) = (ClusterName::new("media", "demo"), OperatorName::default());
            let now = self.start + Duration::from_secs(second);
            self.questions.step(&cluster, &owner, is_open, now)
        }
    }

    #[test]
    fn operator_that_does_not_answer_has_stopped() {
        let asker = Asker::new();
        assert_eq!(asker.step(false, 0), TakeoverStep::Ask);
        assert_eq!(asker.step(true, 1), TakeoverStep::Wait);
        assert_eq!(asker.step(true, 119), TakeoverStep::Wait);
        assert_eq!(asker.step(true, 120), TakeoverStep::TakeOver);
    }

    #[test]
    fn operator_that_answers_is_asked_again_after_two_minutes() {
        let asker = Asker::new();
        assert_eq!(asker.step(false, 0), TakeoverStep::Ask);
        assert_eq!(asker.step(false, 10), TakeoverStep::Wait);
        assert_eq!(asker.step(false, 129), TakeoverStep::Wait);
        assert_eq!(asker.step(false, 130), TakeoverStep::Ask);
        assert_eq!(asker.step(true, 249), TakeoverStep::Wait);
        assert_eq!(asker.step(true, 250), TakeoverStep::TakeOver);
    }

    #[test]
    fn restarted_operator_waits_for_the_answer_anew() {
        let asker = Asker::new();
        assert_eq!(asker.step(true, 1000), TakeoverStep::Wait);
        assert_eq!(asker.step(true, 1119), TakeoverStep::Wait);
        assert_eq!(asker.step(true, 1120), TakeoverStep::TakeOver);
    }
}
