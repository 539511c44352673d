//! What every part of a node can reach: its configuration, its streams, its clients, and which phase of life it is in.

use std::io;
use std::sync::Arc;

use media_config::NodeConfig;
use media_engine::{EngineSettings, Registry};
use tokio::sync::watch;

use super::admission::Connections;
use super::workers::WorkerHandles;
use crate::discovery::Origins;
use crate::http::listing::Elsewhere;
use crate::relay::{Relay, RelaySettings, Spawn};
use crate::state::clients::Clients;
use crate::state::metrics::Metrics;

/// Relays of a thousand streams from every one of a few dozen nodes do not come near.
const MAX_INTERNAL_CONNECTIONS: u32 = 16_384;

/// One for each node.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    /// The node's name, or the host's.
    pub(crate) name: String,
    pub(crate) registry: Registry,
    pub(crate) relay: Relay,
    pub(crate) clients: Arc<Clients>,
    /// Those of the public ports.
    pub(crate) connections: Connections,
    pub(crate) internal_connections: Connections,
    pub(crate) metrics: Metrics,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) workers: WorkerHandles,
    phase: watch::Sender<Phase>,
}

/// Where in its life a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serves.
    Running,
    /// Still accepts connections, until every client knows that the node is leaving.
    LameDuck,
    /// Accepts none, serves those that are there.
    Closing,
}

impl Shared {
    pub(crate) fn new(
        config: NodeConfig,
        workers: WorkerHandles,
        origins: Option<Origins>,
    ) -> Self {
        let name = match config.name.as_str() {
            "" => host_name(),
            name => name.to_owned(),
        };
        let registry = Registry::new(engine_settings(&config, workers.count()));
        let settings = RelaySettings {
            name: name.clone(),
            role: config.role,
            stream: config.stream.clone(),
            limits: config.limits.clone(),
        };
        let clients = Clients::new();
        let on_workers = workers.clone();
        let spawn: Spawn = Arc::new(move |start| on_workers.place().run(start));
        Self {
            relay: Relay::new(
                settings,
                registry.clone(),
                Arc::clone(&clients),
                origins,
                spawn,
            ),
            registry,
            clients,
            connections: Connections::new(config.limits.max_connections),
            internal_connections: Connections::new(MAX_INTERNAL_CONNECTIONS),
            metrics: Metrics::new(),
            elsewhere: Elsewhere::default(),
            phase: watch::Sender::new(Phase::Running),
            config,
            name,
            workers,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn phase_changes(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn enter_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }
}

fn engine_settings(config: &NodeConfig, workers: usize) -> EngineSettings {
    let stream = &config.stream;
    EngineSettings {
        window: stream.window(),
        window_max_bytes: stream.window_max_bytes(),
        continuity: stream.continuity(),
        pulse_per_viewer: stream.pulse_per_viewer(),
        pulse_max: stream.pulse_max(),
        max_streams: usize::try_from(config.limits.max_streams).unwrap_or(usize::MAX),
        workers,
    }
}

fn host_name() -> String {
    let read: io::Result<String> = std::fs::read_to_string("/proc/sys/kernel/hostname");
    match read {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "media-node".to_owned(),
    }
}
