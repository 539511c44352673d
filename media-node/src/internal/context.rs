//! Handles that the internal port uses.

use std::sync::Arc;
use std::time::Duration;

use media_config::Role;
use media_engine::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::auth::NodeIdentity;
use crate::relay::Relay;
use crate::state::clients::Clients;
use crate::state::idle_connections::IdleConnections;
use crate::state::limits::CurrentLimits;
use crate::state::metrics::Metrics;
use crate::state::phase::Phase;

/// Handles that the internal port uses.
pub(crate) struct InternalContext {
    /// Instance name.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) registry: Registry,
    pub(crate) relay: Relay,
    pub(crate) limits: CurrentLimits,
    pub(crate) clients: Arc<Clients>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Open connections of the public ports.
    pub(crate) connections: watch::Receiver<usize>,
    /// Connections of this port that carry no relay. One is closed for another, so that probes are answered.
    pub(crate) idle: Arc<IdleConnections>,
    /// Connections of the metrics port.
    pub(crate) idle_metrics: Arc<IdleConnections>,
    /// Connections of this port that may carry relays.
    pub(crate) relay_connections: Arc<Semaphore>,
    /// Thread that renders metrics and lists.
    pub(crate) control: Handle,
    /// Time that a peer may take to send the header section of a request.
    pub(crate) header_timeout: Duration,
}

impl InternalContext {
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }
}
