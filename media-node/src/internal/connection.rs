//! What a connection of the internal port counts as: idle until it carries a relay.
//!
//! Probes, metrics and the API are short requests. Their connections stay idle, and of those the oldest one is closed for a new
//! one. Whoever opens many connections closes only its own, and a probe is answered in a moment.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::context::InternalContext;
use crate::state::idle_connections::{Eviction, IdleGuard};

/// A connection of the internal port.
pub(super) struct InternalConnection(Mutex<Counted>);

#[expect(dead_code, reason = "each is held until it is dropped")]
enum Counted {
    Idle(IdleGuard),
    /// Until the connection ends, also between two requests.
    Relay(OwnedSemaphorePermit),
}

impl InternalConnection {
    /// Returns a new connection, and the request to close it for another one.
    pub(super) fn open(context: &InternalContext) -> (Self, Eviction) {
        let (guard, eviction) = context.idle.enter();
        (Self(Mutex::new(Counted::Idle(guard))), eviction)
    }

    /// Returns whether the connection may carry a relay. It is not closed for another one from then on.
    pub(super) fn may_relay(&self, context: &InternalContext) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}
