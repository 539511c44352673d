//! Who may publish and who may play: one decision for every protocol, made before the first reply that accepts.
//!
//! ```text
//! request ── addresses (cidr) ── the credential's method: keys | signed_url | jwt ── else hook ── Grant | Denial
//! ```
//!
//! Files and key sets are read again in the background ([`background`]). A [`Grant`] is kept while its client plays or publishes.
//! [`Auth::revoked`] lists the clients whose key was removed.
//!
//! Separately, [`identity`] recognizes media nodes and the operator on the internal port.
//!
//! Read in this order: [`request`] (what is decided), [`access`] (how), the methods, [`grant`] (what is kept of the decision).

mod access;
mod background;
mod cidr;
mod credential;
mod fetch;
mod grant;
mod hook;
mod identity;
mod jwt;
mod keys;
mod mounted;
mod request;
mod signed_url;
mod streams;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media_config::AuthSettings;
use prometheus::IntCounter;

pub(crate) use access::Listing;
pub(crate) use credential::Credential;
pub(crate) use grant::Grant;
pub(crate) use identity::{Caller, NodeIdentity, api_token};
pub use jwt::KeySetTimings;
pub(crate) use request::{AccessRequest, Action, Denial, ListRequest};

use crate::counters::Counters;
use crate::host;
use access::Access;
use background::Background;
use grant::Grants;
use hook::HookInstance;

/// The decisions of one media node.
pub(crate) struct Auth {
    publish: Access,
    play: Access,
    grants: Arc<Grants>,
    /// Absent where every client may do everything.
    background: Option<Background>,
    metrics: AuthMetrics,
}

/// Counters of decisions.
#[derive(Clone)]
pub(crate) struct AuthMetrics {
    /// Labels `action` and `result`: `allowed`, or the reason of the refusal.
    pub(crate) decisions: Counters<2>,
    /// Calls of `on_unpublish` and `on_stop` that did not reach the hook.
    pub(crate) lost_hook_calls: IntCounter,
}

/// Why the settings cannot be used. Each message names the field.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// A list contains something else than networks.
    #[error("auth.{action}.{field}: {text} is not a network such as 10.0.0.0/8")]
    Cidr {
        action: Action,
        field: &'static str,
        text: String,
    },
    /// A file or folder cannot be read.
    #[error("auth.{action}.{field}: {} cannot be read: {source}", path.display())]
    Read {
        action: Action,
        field: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A file is not what it must be.
    #[error("auth.{action}.{field}: {reason}")]
    Invalid {
        action: Action,
        field: &'static str,
        reason: String,
    },
    /// The background thread cannot be started.
    #[error("auth: cannot start the background thread: {0}")]
    Thread(#[source] io::Error),
}

impl Auth {
    /// Reads the files that `settings` name and starts to watch them.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub(crate) fn start(
        name: &str,
        settings: &AuthSettings,
        metrics: AuthMetrics,
        poll: Duration,
        key_set: KeySetTimings,
    ) -> Result<Self, AuthError> {
        let instance = HookInstance::new(name);
        let publish = Access::new(Action::Publish, &settings.publish, &instance)?;
        let play = Access::new(Action::Play, &settings.play, &instance)?;
        let sources = [publish.sources(), play.sources()].concat();
        let background = if settings.publish.needs_credential() || settings.play.needs_credential()
        {
            Some(
                Background::start(sources, poll, key_set, metrics.lost_hook_calls.clone())
                    .map_err(AuthError::Thread)?,
            )
        } else {
            None
        };
        Ok(Self {
            publish,
            play,
            grants: Arc::default(),
            background,
            metrics,
        })
    }

    /// Decides whether a client may do what it asks for.
    ///
    /// # Errors
    /// [`Denial`]: the reason that the client gets.
    pub(crate) async fn decide(&self, request: AccessRequest<'_>) -> Result<Grant, Denial> {
        let access = self.access(request.action);
        if access.is_open() {
            return Ok(Grant::default());
        }
        let decided = match access.judge(&request, now()) {
            Some(judged) => judged.map(|proof| self.grants.enter(&request, proof)),
            // Boxed: few connections ask a hook, and all of them would be larger.
            None => Box::pin(self.ask(access, &request)).await,
        };
        self.count(request.action, decided.as_ref().err());
        decided
    }

    async fn ask(&self, access: &Access, request: &AccessRequest<'_>) -> Result<Grant, Denial> {
        match (&access.hook, &self.background) {
            (Some(hook), Some(background)) => {
                let session = hook.ask(request, background).await?;
                Ok(Grant::of_hook(session))
            }
            _ => Err(Denial::NoCredential),
        }
    }

    /// Decides what a client without a stream of its own may see of the list of streams.
    ///
    /// # Errors
    /// [`Denial`]: the reason that the client gets.
    pub(crate) fn list<'a>(&'a self, request: ListRequest<'a>) -> Result<Listing<'a>, Denial> {
        let listing = self.play.list(&request, now());
        if !self.play.is_open() {
            self.count(Action::Play, listing.as_ref().err());
        }
        listing
    }

    /// Decides whether a client may see the player page. Where only a hook could allow the client, it may: the page alone shows no
    /// stream.
    ///
    /// # Errors
    /// [`Denial`]: the reason that the client gets.
    pub(crate) fn show_page(&self, request: ListRequest<'_>) -> Result<(), Denial> {
        match self.list(request) {
            Err(Denial::NoCredential) if self.play.hook.is_some() => Ok(()),
            listed => listed.map(drop),
        }
    }

    /// Returns the clients whose key has been removed since they were allowed.
    pub(crate) fn revoked(&self) -> Vec<u64> {
        self.grants
            .without(|action, proof| self.access(action).holds(proof))
    }

    /// Waits until the hooks have been notified of every client that left, for a limited time.
    pub(crate) async fn close(&self) {
        if let Some(background) = &self.background {
            background.close().await;
        }
    }

    fn access(&self, action: Action) -> &Access {
        match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        }
    }

    fn count(&self, action: Action, denial: Option<&Denial>) {
        let result = denial.map_or("allowed", |denial| denial.label());
        let decisions = &self.metrics.decisions;
        decisions.of([action.label(), result]).inc();
    }
}

/// Returns the seconds since 1970.
fn now() -> u64 {
    host::wall_clock().as_secs()
}

#[cfg(test)]
mod tests;
