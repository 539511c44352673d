//! Everything that a media node consists of besides its ports and threads.

use std::sync::Arc;

use media_config::{Limits, LiveSettings, NodeConfig, Role};
use media_engine::{EngineSettings, InitDataLimits, Registry};
use media_log::LogLevel;
use tokio::sync::watch;

use super::bind_error::BindError;
use super::connections::Connections;
use super::media_memory::media_memory;
use super::open_files;
use super::timings::Timings;
use super::workers::WorkerHandles;
use crate::auth::{Auth, NodeIdentity};
use crate::discovery::OriginSet;
use crate::proxies::Proxies;
use crate::relay::{Relay, RelayParts, RelaySettings, RtmpServer, Spawner};
use crate::slate::{Slate, SlateClip};
use crate::state::clients::Clients;
use crate::state::idle_connections::IdleConnections;
use crate::state::limits::CurrentLimits;
use crate::state::metrics::Metrics;
use crate::state::phase::Phase;
use crate::state::publisher_addresses::PublisherAddresses;

/// Connections without a stream that even the smallest media node has room for.
const MIN_IDLE_CONNECTIONS: u64 = 16;

/// The parts of a media node.
pub(super) struct NodeContext {
    /// Instance name.
    pub(super) name: String,
    /// Its limits are `limits`.
    pub(super) config: Arc<NodeConfig>,
    pub(super) limits: CurrentLimits,
    pub(super) timings: Timings,
    pub(super) workers: WorkerHandles,
    pub(super) registry: Registry,
    pub(super) relay: Relay,
    pub(super) clients: Arc<Clients>,
    pub(super) publishers: PublisherAddresses,
    pub(super) metrics: Arc<Metrics>,
    pub(super) auth: Arc<Auth>,
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) proxies: Arc<Proxies>,
    /// Connections of the public ports.
    pub(super) connections: Connections,
    /// Connections of the public ports that are without a stream.
    pub(super) idle: Arc<IdleConnections>,
}

impl NodeContext {
    pub(super) fn new(
        name: String,
        mut config: NodeConfig,
        timings: Timings,
        workers: WorkerHandles,
        origins: Option<OriginSet>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let registry = Registry::new(engine_settings(&config, workers.count()));
        // Taken out of the configuration, which does not change.
        let limits = CurrentLimits::new(std::mem::take(&mut config.limits));
        metrics.streams.set_max_own(config.metrics.max_streams());
        let config = Arc::new(config);
        let clients = Clients::new();
        let Timings {
            key_poll, key_set, ..
        } = timings;
        let auth = Auth::start(&name, &config.auth, metrics.auth.clone(), key_poll, key_set);
        let auth = Arc::new(auth.map_err(BindError::invalid)?);
        let identity = NodeIdentity::open(&config.identity).map_err(BindError::invalid)?;
        let identity = Arc::new(identity);
        let proxies = Proxies::new(&config.proxies).map_err(BindError::invalid)?;
        let proxies = Arc::new(proxies);
        let phase = watch::Sender::new(Phase::Running);
        let connections = Connections::new(limits.clone());
        let idle = IdleConnections::new(
            max_idle_connections(&limits.get()),
            metrics.exceedances("idle_connections"),
        );
        let parts = RelayParts {
            registry: registry.clone(),
            clients: Arc::clone(&clients),
            identity: Arc::clone(&identity),
            origins,
            metrics: metrics.relay.clone(),
            spawner: spawn_on(workers.clone()),
        };
        let relay = Relay::new(relay_settings(&name, &config, &limits)?, parts);
        let publishers = relay.publishers().clone();
        Ok(Self {
            name,
            config,
            limits,
            timings,
            workers,
            registry,
            relay,
            clients,
            publishers,
            metrics,
            auth,
            identity,
            phase,
            proxies,
            connections,
            idle,
        })
    }

    /// Applies new live settings, all or none of them.
    ///
    /// # Errors
    /// When the log level is not a filter; the message names the field.
    pub(super) fn apply_live_settings(
        &self,
        live: LiveSettings,
        log: &LogLevel,
    ) -> Result<(), String> {
        log.set(&live.log.level)
            .map_err(|error| format!("log.level: {error}"))?;
        self.set_limits(live.limits);
        let streams = &self.metrics.streams;
        streams.set_max_own(live.metrics.max_streams());
        Ok(())
    }

    fn set_limits(&self, limits: Limits) {
        open_files::raise(limits.max_connections);
        self.idle.set_limit(max_idle_connections(&limits));
        self.registry
            .set_limits(max_streams(&limits), init_data_limits(&limits));
        self.limits.replace(limits);
    }

    pub(super) fn enter_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
}

fn engine_settings(config: &NodeConfig, workers: usize) -> EngineSettings {
    let stream = &config.stream;
    EngineSettings {
        window: stream.window(),
        window_max_bytes: stream.window_max_bytes(),
        media_memory_bytes: media_memory(&config.limits),
        continuity: stream.continuity(),
        pulse_min: stream.pulse_min(),
        pulse_max: stream.pulse_max(),
        pulse_ceiling: stream.pulse_ceiling(),
        max_streams: max_streams(&config.limits),
        init_data: init_data_limits(&config.limits),
        workers,
    }
}

fn max_streams(limits: &Limits) -> usize {
    usize::try_from(limits.max_streams).unwrap_or(usize::MAX)
}

fn init_data_limits(limits: &Limits) -> InitDataLimits {
    InitDataLimits {
        message_bytes: limits.max_init_data_bytes(),
        messages: usize::try_from(limits.max_init_data_messages).unwrap_or(usize::MAX),
    }
}

fn max_idle_connections(limits: &Limits) -> usize {
    let [all, percent] = [limits.max_connections, limits.max_idle_connections_percent];
    let limit = u64::from(all) * u64::from(percent) / 100;
    usize::try_from(limit.max(MIN_IDLE_CONNECTIONS)).unwrap_or(usize::MAX)
}

fn relay_settings(
    name: &str,
    config: &NodeConfig,
    limits: &CurrentLimits,
) -> Result<RelaySettings, BindError> {
    let servers = config.origins.rtmp.iter();
    Ok(RelaySettings {
        name: name.to_owned(),
        role: config.role,
        stream: config.stream.clone(),
        limits: limits.clone(),
        rtmp_servers: servers.map(|address| RtmpServer::new(address)).collect(),
        slate: slate(config)?,
        ..RelaySettings::default()
    })
}

fn slate(config: &NodeConfig) -> Result<Option<Slate>, BindError> {
    if config.role != Role::Origin {
        return Ok(None);
    }
    let Some(path) = &config.slate else {
        let repeats = config.stream.repeat_last_keyframe;
        return Ok(repeats.then_some(Slate::LastKeyframe));
    };
    let invalid = |error| BindError::invalid(format_args!("slate: {}: {error}", path.display()));
    let clip = SlateClip::load(path).map_err(invalid)?;
    Ok(Some(Slate::Clip(Arc::new(clip))))
}

fn spawn_on(workers: WorkerHandles) -> Spawner {
    Arc::new(move |start| {
        workers.slot().run(|worker, slot| {
            let task = start(worker);
            async move {
                task.await;
                drop(slot);
            }
        });
    })
}
