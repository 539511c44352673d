//! Handles that an RTMP session uses.

use std::sync::Arc;
use std::time::Duration;

use media_config::NodeConfig;
use media_engine::Registry;

use crate::auth::Auth;
use crate::delivery::finder::StreamFinder;
use crate::relay::Relay;
use crate::state::address_limits::AddressLimits;
use crate::state::clients::Clients;
use crate::state::idle_connections::IdleConnections;
use crate::state::limits::CurrentLimits;
use crate::state::log_rate::LogRate;
use crate::state::metrics::Metrics;
use crate::state::publisher_addresses::PublisherAddresses;

/// Handles that an RTMP session uses.
pub(crate) struct RtmpContext {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) limits: CurrentLimits,
    pub(crate) auth: Arc<Auth>,
    pub(crate) registry: Registry,
    pub(crate) relay: Relay,
    pub(crate) finder: Arc<StreamFinder>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) publishers: PublisherAddresses,
    pub(crate) addresses: AddressLimits,
    pub(crate) idle: Arc<IdleConnections>,
    pub(crate) metrics: Arc<Metrics>,
    /// Limits the log lines about clients that use another protocol.
    pub(crate) log_rate: LogRate,
    /// Time without silence after which an encoder replaces one with a lower priority.
    pub(crate) steady: Duration,
    /// Time for an encoder to end its publish after a request to do so. What it sends meanwhile is not lost.
    pub(crate) last_bytes: Duration,
}
