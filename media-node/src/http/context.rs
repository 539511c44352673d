//! Handles that an HTTP session uses.

use std::sync::Arc;

use media_config::NodeConfig;
use tokio::sync::watch;

use super::listing::StreamList;
use crate::auth::Auth;
use crate::delivery::finder::StreamFinder;
use crate::proxies::Proxies;
use crate::state::address_limits::AddressLimits;
use crate::state::idle_connections::IdleConnections;
use crate::state::limits::CurrentLimits;
use crate::state::log_rate::LogRate;
use crate::state::metrics::Metrics;
use crate::state::phase::Phase;

/// Handles that an HTTP session uses.
pub(crate) struct HttpContext {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) limits: CurrentLimits,
    pub(crate) auth: Arc<Auth>,
    pub(crate) finder: Arc<StreamFinder>,
    pub(crate) list: StreamList,
    pub(crate) idle: Arc<IdleConnections>,
    pub(crate) addresses: AddressLimits,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) metrics: Arc<Metrics>,
    /// Limits the log lines about clients that use another protocol.
    pub(crate) log_rate: LogRate,
    pub(crate) phase: watch::Receiver<Phase>,
}
