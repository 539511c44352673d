//! The grant: the result of a decision, which is kept while its client publishes or plays.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::access::Proof;
use super::hook::HookSession;
use super::request::{AccessRequest, Action};

/// The right to publish or to play, for as long as it is kept. When it is dropped, the hook that allowed it is notified.
///
/// Where every client may do everything it is empty and costs nothing.
#[derive(Default)]
pub(crate) struct Grant {
    _held: Option<Box<GrantGuard>>,
    /// Maximum bitrate of a publisher, in kilobits per second.
    pub(crate) max_publish_kbps: Option<u32>,
}

#[expect(
    dead_code,
    reason = "each variant is kept only to be dropped at the right time"
)]
enum GrantGuard {
    Proved(Entry),
    Hook(HookSession),
}

/// The clients that were allowed by something that can be removed.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<u64, (Action, Proof)>>);

/// A client's entry in the table.
struct Entry {
    grants: Arc<Grants>,
    client: u64,
}

impl Grant {
    pub(super) fn of_hook(session: HookSession) -> Self {
        Self {
            _held: Some(Box::new(GrantGuard::Hook(session))),
            max_publish_kbps: None,
        }
    }
}

impl Grants {
    /// Keeps the proof until the grant is dropped.
    pub(super) fn enter(self: &Arc<Self>, request: &AccessRequest<'_>, proof: Proof) -> Grant {
        if proof == Proof::Address {
            return Grant::default();
        }
        let max_publish_kbps = proof.max_publish_kbps();
        self.0
            .lock()
            .insert(request.client, (request.action, proof));
        let entry = Entry {
            grants: Arc::clone(self),
            client: request.client,
        };
        Grant {
            _held: Some(Box::new(GrantGuard::Proved(entry))),
            max_publish_kbps,
        }
    }

    /// Returns the clients whose proof does not hold.
    pub(super) fn without(&self, holds: impl Fn(Action, &Proof) -> bool) -> Vec<u64> {
        // Copied, so that a new client does not wait for the comparison of all others.
        let all: Vec<_> = self
            .0
            .lock()
            .iter()
            .map(|(client, kept)| (*client, kept.clone()))
            .collect();
        let gone = all
            .into_iter()
            .filter(|(_, (action, proof))| !holds(*action, proof));
        gone.map(|(client, _)| client).collect()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.grants.0.lock().remove(&self.client);
    }
}
