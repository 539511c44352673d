//! A connection of the internal port: the limit that it counts for, and the caller that it belongs to.
//!
//! Probes and the API are short requests. Their connections stay idle, and beyond a limit the address with the most of them loses its
//! oldest. A client that opens many connections closes only its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::context::InternalContext;
use crate::auth::{Caller, Denial, NodeIdentity};
use crate::state::idle_connections::{Eviction, IdleGuard};

/// Time for which a token that was accepted on this connection is not verified again: that takes 50 µs, and an edge asks for the
/// status of each stream several times a second.
const VERIFIED: Duration = Duration::from_secs(10);

/// A connection of the internal port.
pub(super) struct InternalConnection {
    counted: Mutex<Counted>,
    verified: Mutex<Option<Verified>>,
}

#[expect(dead_code, reason = "each is held until it is dropped")]
enum Counted {
    Idle(IdleGuard),
    /// Until the connection ends, also between two requests.
    Relay(OwnedSemaphorePermit),
}

/// The last token that was accepted.
struct Verified {
    authorization: HeaderValue,
    caller: Caller,
    at: Instant,
}

impl InternalConnection {
    /// Returns a new connection, and the request to close it for another one.
    pub(super) fn open(context: &InternalContext, peer: IpAddr) -> (Self, Eviction) {
        let (guard, eviction) = context.idle.enter(peer);
        let connection = Self {
            counted: Mutex::new(Counted::Idle(guard)),
            verified: Mutex::default(),
        };
        (connection, eviction)
    }

    /// Returns whether the connection may carry a relay. It is not closed for another one from then on.
    pub(super) fn may_relay(&self, context: &InternalContext) -> bool {
        let mut counted = self.counted.lock();
        if let Counted::Idle(_) = *counted {
            match Arc::clone(&context.relay_connections).try_acquire_owned() {
                Ok(permit) => *counted = Counted::Relay(permit),
                Err(_) => {
                    context.metrics.exceeded("internal_connections");
                    return false;
                }
            }
        }
        true
    }

    /// Returns who sends a request with this header `Authorization`.
    pub(super) fn caller(
        &self,
        identity: &NodeIdentity,
        authorization: Option<&HeaderValue>,
    ) -> Result<Caller, Denial> {
        let mut verified = self.verified.lock();
        if let Some(last) = &*verified
            && authorization == Some(&last.authorization)
            && last.at.elapsed() < VERIFIED
        {
            return Ok(last.caller);
        }
        let caller = identity.judge(authorization)?;
        *verified = authorization.map(|authorization| Verified {
            authorization: authorization.clone(),
            caller,
            at: Instant::now(),
        });
        Ok(caller)
    }
}
