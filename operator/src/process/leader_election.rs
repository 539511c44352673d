//! Leader election: of several operators one acts, the others stand by.
//!
//! The rules are those of client-go: a Lease is taken, renewed and released by replacing the very version that was
//! read, so that of two candidates the API lets one through. Whether a Lease has run out is judged by this machine's
//! own clock, from the moment at which the Lease last changed: the clocks of two machines are never compared.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::k8s::client::{CallError, Calls};

/// Time after which a Lease that nobody renews is free.
const LEASE: Duration = Duration::from_secs(15);
/// Time without a renewal after which a leader stops: earlier than anybody else may start.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);
/// Time for one attempt: several must fit into [`RENEW_DEADLINE`].
const ATTEMPT: Duration = Duration::from_secs(4);

/// A candidate for the leadership.
pub struct Candidate {
    api: Api<Lease>,
    calls: Calls,
    lease: String,
    identity: String,
    observed: Option<Observed>,
    /// The Lease as the API answered our last renewal: the next one needs no look at it first.
    held: Option<Lease>,
}

/// The Lease as it was last seen.
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

/// What an attempt came to.
enum Attempt {
    /// The Lease is ours from the moment at which the attempt began.
    Leads,
    /// It is somebody else's.
    Follows,
    /// The Lease changed between our look and our writing: look again.
    Raced,
}

impl Candidate {
    /// A candidate called `identity`, for the Lease of this name. Operators that compete have different identities.
    pub fn new(api: Api<Lease>, calls: Calls, lease: String, identity: String) -> Self {
        Self {
            api,
            calls,
            lease,
            identity,
            observed: None,
            held: None,
        }
    }

    /// Waits until this operator leads. `alive` is called at every attempt.
    pub async fn acquire(&mut self, alive: impl Fn()) {
        loop {
            alive();
            let next = Instant::now() + RETRY;
            match self.attempt().await {
                Ok(Attempt::Leads) => return,
                Ok(Attempt::Follows | Attempt::Raced) => {}
                Err(error) => tracing::warn!(%error, "no attempt at the leadership"),
            }
            sleep_until(next).await;
        }
    }

    /// Renews the Lease until `stop`, then gives it up; returns early when it is lost.
    ///
    /// # Guarantees
    /// Returns at most 10 seconds after the beginning of the last renewal that worked, 5 seconds before anybody else
    /// can lead, whether or not the API answers.
    ///
    /// # Errors
    /// [`Lost`]: whoever acted as the leader must end at once.
    pub async fn lead(&mut self, stop: &CancellationToken, alive: impl Fn()) -> Result<(), Lost> {
        let mut renewed = Instant::now();
        loop {
            alive();
            let now = Instant::now();
            let deadline = renewed + RENEW_DEADLINE;
            match tokio::time::timeout_at(deadline, self.attempt()).await {
                Ok(Ok(Attempt::Leads)) => renewed = now,
                Ok(Ok(Attempt::Follows)) => return Err(Lost::Taken),
                Ok(Ok(Attempt::Raced)) => continue,
                Ok(Err(error)) => tracing::warn!(%error, "the lease is not renewed"),
                Err(_) => return Err(Lost::Expired),
            }
            let next = (now + RETRY).min(renewed + RENEW_DEADLINE);
            tokio::select! {
                () = sleep_until(next) => {}
                () = stop.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
            }
            if Instant::now() >= renewed + RENEW_DEADLINE {
                return Err(Lost::Expired);
            }
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, CallError> {
        match tokio::time::timeout(ATTEMPT, self.try_lease()).await {
            Ok(attempt) => attempt,
            Err(_) => Err(CallError::TimedOut {
                verb: "hold",
                what: format!("Lease {}", self.lease),
                limit: ATTEMPT,
            }),
        }
    }

    /// One attempt to take or renew the Lease.
    async fn try_lease(&mut self) -> Result<Attempt, CallError> {
        // Whatever goes wrong, the next attempt looks first.
        if let Some(held) = self.held.take() {
            return self.replace(held).await;
        }
        let call = self.api.get_opt(&self.lease);
        let found = self.calls.call("get", "Lease", &self.lease, call).await?;
        let Some(lease) = found else {
            let lease = self.fresh();
            let params = PostParams::default();
            let call = self.api.create(&params, &lease);
            let created = self.calls.call("create", "Lease", &self.lease, call).await;
            return self.won(created);
        };
        let old = lease.spec.clone().unwrap_or_default();
        let holder = old.holder_identity.as_deref().unwrap_or("");
        if holder != self.identity && !holder.is_empty() && !self.has_run_out(&old) {
            return Ok(Attempt::Follows);
        }
        self.replace(lease).await
    }

    /// Writes our name and the time into the Lease that was read. Its resourceVersion goes back with it: whoever was
    /// faster makes this a 409.
    async fn replace(&mut self, mut lease: Lease) -> Result<Attempt, CallError> {
        lease.spec = Some(self.taken(&lease.spec.unwrap_or_default()));
        let params = PostParams::default();
        let call = self.api.replace(&self.lease, &params, &lease);
        let replaced = self.calls.call("replace", "Lease", &self.lease, call).await;
        self.won(replaced)
    }

    fn won(&mut self, answer: Result<Lease, CallError>) -> Result<Attempt, CallError> {
        match answer {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(Attempt::Leads)
            }
            Err(error) if error.status().is_some_and(|status| status.code == 409) => {
                Ok(Attempt::Raced)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the Lease has not changed for as long as its holder has it.
    fn has_run_out(&mut self, spec: &LeaseSpec) -> bool {
        let now = Instant::now();
        match &self.observed {
            Some(observed) if observed.spec == *spec => {
                let seconds = spec
                    .lease_duration_seconds
                    .unwrap_or(0)
                    .max(1)
                    .unsigned_abs();
                now >= observed.since + Duration::from_secs(seconds.into())
            }
            _ => {
                self.observed = Some(Observed {
                    spec: spec.clone(),
                    since: now,
                });
                false
            }
        }
    }

    fn fresh(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.lease.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.taken(&LeaseSpec::default())),
        }
    }

    fn taken(&self, old: &LeaseSpec) -> LeaseSpec {
        let is_ours = old.holder_identity.as_deref() == Some(&self.identity);
        let now = MicroTime(Timestamp::now());
        let transitions = old.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: match (&old.acquire_time, is_ours) {
                (Some(time), true) => Some(time.clone()),
                _ => Some(now.clone()),
            },
            lease_transitions: Some(if is_ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            renew_time: Some(now),
            ..old.clone()
        }
    }

    /// Lets go of the Lease, so that a successor need not wait for it to run out.
    async fn release(&self) {
        let release = async {
            let call = self.api.get(&self.lease);
            let mut lease = self.calls.call("get", "Lease", &self.lease, call).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let params = PostParams::default();
            let call = self.api.replace(&self.lease, &params, &lease);
            self.calls
                .call("replace", "Lease", &self.lease, call)
                .await
                .map(drop)
        };
        match tokio::time::timeout(ATTEMPT, release).await {
            Ok(Ok(())) => tracing::info!("leadership released"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease runs out by itself"),
            Err(_) => tracing::warn!("the lease runs out by itself: no answer"),
        }
    }
}

/// Why the leadership ended against this operator's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another operator has the Lease.
    #[error("another operator took the lease")]
    Taken,
    /// It could not be renewed in time.
    #[error("the lease was not renewed for {} seconds", RENEW_DEADLINE.as_secs())]
    Expired,
}

#[cfg(test)]
mod tests;
