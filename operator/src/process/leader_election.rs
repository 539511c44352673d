//! Leader election: of several operators one is the leader, the others stand by.
//!
//! The rules are those of client-go: a Lease is acquired, renewed and released by replacing the very version that was
//! read, so that the API server accepts only one of two candidates. Whether a Lease has expired is decided by the local
//! clock, from the moment at which the Lease was last seen to change: the clocks of two hosts are never compared.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::k8s::call_error::CallError;
use crate::k8s::write_fence::WriteFence;

/// Time after which a Lease that is not renewed expires.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time without a renewal after which the leader stops: before the Lease expires for the others.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Time for one attempt: several must fit into [`RENEW_DEADLINE`].
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);

/// Acquires, renews and releases a Lease.
pub(super) struct LeaderElector {
    api: Api<Lease>,
    lease: String,
    identity: String,
    /// Annotations that the Lease has while this operator holds it.
    annotations: BTreeMap<String, String>,
    /// Closes [`RENEW_DEADLINE`] after the begin of the last successful attempt.
    fence: WriteFence,
    observed: Option<ObservedLease>,
    /// The Lease as our last renewal left it: the next renewal need not read it first.
    held: Option<Lease>,
}

/// The Lease of another holder, with the time since when it is unchanged.
struct ObservedLease {
    spec: LeaseSpec,
    since: Instant,
}

/// The result of an attempt to acquire or renew the Lease.
enum LeaseAttempt {
    /// The Lease is ours.
    Held,
    /// Another operator holds the Lease.
    HeldByOther,
    /// The Lease changed between our read and our write.
    Conflict,
}

/// An attempt that failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no response within {} seconds", ATTEMPT_LIMIT.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

impl LeaderElector {
    /// Returns an elector for the Lease of this name. Competing operators have different identities. `fence` is open
    /// while this operator is the leader.
    pub(super) fn new(
        api: Api<Lease>,
        lease: String,
        identity: String,
        annotations: BTreeMap<String, String>,
        fence: WriteFence,
    ) -> Self {
        Self {
            api,
            lease,
            identity,
            annotations,
            fence,
            observed: None,
            held: None,
        }
    }

    /// Waits until this operator is the leader. Calls `heartbeat` at every attempt.
    pub(super) async fn acquire(&mut self, heartbeat: impl Fn()) {
        loop {
            heartbeat();
            let next = Instant::now() + RETRY_INTERVAL;
            match self.attempt().await {
                Ok(LeaseAttempt::Held) => return,
                Ok(LeaseAttempt::HeldByOther | LeaseAttempt::Conflict) => {}
                Err(error) => tracing::warn!(%error, "failed to acquire the lease"),
            }
            sleep_until(next).await;
        }
    }

    /// Renews the Lease until `stop`, then releases it. Returns early when the leadership is lost.
    ///
    /// # Guarantees
    /// The fence closes at most 10 seconds after the begin of the last successful renewal, 5 seconds before another
    /// operator can become the leader, whether or not the API server responds. It is closed on return.
    ///
    /// # Errors
    /// [`LeadershipLost`]: the work of the leader must end immediately.
    pub(super) async fn hold(
        &mut self,
        stop: &CancellationToken,
        heartbeat: impl Fn(),
    ) -> Result<(), LeadershipLost> {
        let held = self.renew_until(stop, heartbeat).await;
        self.fence.close();
        held?;
        self.release().await;
        Ok(())
    }

    async fn renew_until(
        &mut self,
        stop: &CancellationToken,
        heartbeat: impl Fn(),
    ) -> Result<(), LeadershipLost> {
        loop {
            heartbeat();
            let next = Instant::now() + RETRY_INTERVAL;
            match tokio::time::timeout_at(self.fence.deadline(), self.attempt()).await {
                Ok(Ok(LeaseAttempt::Held)) => {}
                Ok(Ok(LeaseAttempt::HeldByOther)) => return Err(LeadershipLost::Taken),
                Ok(Ok(LeaseAttempt::Conflict)) => continue,
                Ok(Err(error)) => tracing::warn!(%error, "failed to renew the lease"),
                Err(_) => return Err(LeadershipLost::Expired),
            }
            let deadline = self.fence.deadline();
            tokio::select! {
                () = sleep_until(next.min(deadline)) => {}
                () = stop.cancelled() => return Ok(()),
            }
            if Instant::now() >= deadline {
                return Err(LeadershipLost::Expired);
            }
        }
    }

    async fn attempt(&mut self) -> Result<LeaseAttempt, AttemptError> {
        let began = Instant::now();
        let attempt = tokio::time::timeout(ATTEMPT_LIMIT, self.try_lease()).await??;
        if let LeaseAttempt::Held = attempt {
            self.fence.open_until(began + RENEW_DEADLINE);
        }
        Ok(attempt)
    }

    /// Makes one attempt to acquire or renew the Lease.
    async fn try_lease(&mut self) -> Result<LeaseAttempt, CallError> {
        // `held` stays empty after a failure, so that the next attempt reads the Lease first.
        if let Some(held) = self.held.take() {
            return self.replace(held).await;
        }
        let found = self.api.get_opt(&self.lease).await.map_err(CallError::on(
            "get",
            "Lease",
            &self.lease,
        ))?;
        let Some(lease) = found else {
            let created = self
                .api
                .create(&PostParams::default(), &self.new_lease())
                .await;
            return self.written(created.map_err(CallError::on("create", "Lease", &self.lease)));
        };
        let old = lease.spec.clone().unwrap_or_default();
        let holder = old.holder_identity.as_deref().unwrap_or("");
        if holder != self.identity && !holder.is_empty() && !self.is_expired(&old) {
            return Ok(LeaseAttempt::HeldByOther);
        }
        self.replace(lease).await
    }

    /// Writes our identity and the time into the Lease that was read. The request contains its resourceVersion, so the
    /// API server answers 409 if the Lease has changed.
    async fn replace(&mut self, mut lease: Lease) -> Result<LeaseAttempt, CallError> {
        lease.spec = Some(self.held_spec(&lease.spec.unwrap_or_default()));
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.extend(self.annotations.clone());
        let replaced = self
            .api
            .replace(&self.lease, &PostParams::default(), &lease)
            .await;
        self.written(replaced.map_err(CallError::on("replace", "Lease", &self.lease)))
    }

    fn written(&mut self, written: Result<Lease, CallError>) -> Result<LeaseAttempt, CallError> {
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(LeaseAttempt::Held)
            }
            Err(error) if error.status().is_some_and(|status| status.code == 409) => {
                Ok(LeaseAttempt::Conflict)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether the Lease is unchanged for longer than its duration.
    fn is_expired(&mut self, spec: &LeaseSpec) -> bool {
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
                self.observed = Some(ObservedLease {
                    spec: spec.clone(),
                    since: now,
                });
                false
            }
        }
    }

    fn new_lease(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.lease.clone()),
                annotations: Some(self.annotations.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.held_spec(&LeaseSpec::default())),
        }
    }

    /// Returns `old` with this operator as the holder.
    fn held_spec(&self, old: &LeaseSpec) -> LeaseSpec {
        let is_ours = old.holder_identity.as_deref() == Some(&self.identity);
        let now = MicroTime(Timestamp::now());
        let transitions = old.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
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

    /// Releases the Lease, so that the next leader need not wait until it expires.
    async fn release(&self) {
        match tokio::time::timeout(ATTEMPT_LIMIT, self.try_release()).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to release the lease"),
            Err(_) => tracing::warn!("failed to release the lease: no response"),
        }
    }

    async fn try_release(&self) -> Result<(), CallError> {
        let mut lease =
            self.api
                .get(&self.lease)
                .await
                .map_err(CallError::on("get", "Lease", &self.lease))?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.api
            .replace(&self.lease, &PostParams::default(), &lease)
            .await
            .map_err(CallError::on("replace", "Lease", &self.lease))?;
        Ok(())
    }
}

/// The leadership ended without a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipLost {
    /// Another operator holds the Lease.
    #[error("another operator holds the lease")]
    Taken,
    /// The Lease was not renewed in time.
    #[error("the lease was not renewed for {} seconds", RENEW_DEADLINE.as_secs())]
    Expired,
}

#[cfg(test)]
mod tests;
