//! The media nodes of this computer, by name: each can be stopped and started again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use media_config::Role;
use media_node::{Addresses, BindError, Node};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error_span, info};

use super::plan::Planned;

/// Why an instance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program has one of its ports.
    #[error("{instance}: port {} of {} is in use by another program: stop that one, or choose another port with {option}",
        address.port(), address.ip())]
    InUse {
        /// The instance, such as `edge-1`.
        instance: String,
        /// The address that is in use.
        address: SocketAddr,
        /// The option that changes it.
        option: &'static str,
    },
    /// A port below 1024 needs a privilege that this program lacks.
    #[error("{instance}: not allowed to listen on port {}: choose one above 1023 with {option}", address.port())]
    NotAllowed {
        /// The instance, such as `edge-1`.
        instance: String,
        /// The address.
        address: SocketAddr,
        /// The option that changes it.
        option: &'static str,
    },
    /// The address is not one of this computer.
    #[error("{instance}: cannot listen on {}: choose an address of this computer with --listen", address.ip())]
    Listen {
        /// The instance, such as `edge-1`.
        instance: String,
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// Another reason.
    #[error("{instance} cannot start")]
    Bind {
        /// The instance, such as `edge-1`.
        instance: String,
        /// The reason.
        source: BindError,
    },
}

/// Why an instance is not stopped or started.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstanceError {
    #[error("{name} is no instance, choose one of {}", names.join(", "))]
    Unknown { name: String, names: Vec<String> },
    #[error("{0} is already running")]
    Running(String),
    #[error("{0} is already stopped")]
    Stopped(String),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// All instances of a LiveCluster.
pub(super) struct LocalInstances {
    list: Vec<LocalInstance>,
    /// Cancelled to stop all instances immediately.
    abort: CancellationToken,
    /// Cancelled when an instance ended that was not stopped.
    failed: CancellationToken,
}

struct LocalInstance {
    planned: Planned,
    addresses: Addresses,
    /// Locked while the instance is being stopped or started.
    running: Mutex<Option<Running>>,
}

struct Running {
    drain: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl LocalInstances {
    /// Starts all instances. The ports of all are open before the first one serves.
    pub(super) async fn start(planned: Vec<Planned>) -> Result<Self, StartError> {
        let mut nodes = Vec::new();
        for planned in planned {
            let node = bind(&planned).await?;
            nodes.push((planned, node));
        }
        let (abort, failed) = (CancellationToken::new(), CancellationToken::new());
        let list = nodes
            .into_iter()
            .map(|(planned, node)| LocalInstance {
                planned,
                addresses: node.addresses(),
                running: Mutex::new(Some(serve(node, &abort, &failed))),
            })
            .collect();
        Ok(Self {
            list,
            abort,
            failed,
        })
    }

    /// Returns the addresses of each instance.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, Addresses)> {
        let instances = self.list.iter();
        instances.map(|instance| (instance.planned.config.name.clone(), instance.addresses))
    }

    /// Returns whether each instance is running.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        let instances = self.list.iter();
        instances.map(|instance| (instance.planned.config.name.as_str(), instance.is_running()))
    }

    /// Returns the RTMP address of the first origin that is running.
    pub(super) fn first_origin(&self) -> Option<SocketAddr> {
        let mut instances = self.list.iter();
        instances
            .find(|instance| instance.planned.config.role == Role::Origin && instance.is_running())
            .and_then(|instance| instance.addresses.rtmp)
            .map(reachable)
    }

    /// Starts a stopped instance, at the same addresses.
    pub(super) async fn start_one(&self, name: &str) -> Result<(), InstanceError> {
        let instance = self.find(name)?;
        let mut running = instance.running.lock().await;
        if running.is_some() {
            return Err(InstanceError::Running(name.to_owned()));
        }
        let node = bind(&instance.planned).await?;
        *running = Some(serve(node, &self.abort, &self.failed));
        Ok(())
    }

    /// Stops an instance and waits until it has ended: drained as by SIGTERM, or with `now` immediately, as in a crash.
    pub(super) async fn stop_one(&self, name: &str, now: bool) -> Result<(), InstanceError> {
        let instance = self.find(name)?;
        if instance.stop(now).await {
            Ok(())
        } else {
            Err(InstanceError::Stopped(name.to_owned()))
        }
    }

    /// Drains all instances at the same time.
    pub(super) async fn stop_all(&self) {
        for instance in &self.list {
            if let Some(running) = instance.running.lock().await.as_ref() {
                running.drain.cancel();
            }
        }
        for instance in &self.list {
            instance.stop(false).await;
        }
    }

    /// Stops all instances immediately.
    pub(super) fn abort(&self) {
        self.abort.cancel();
    }

    /// Waits until an instance has ended that was not stopped.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    fn find(&self, name: &str) -> Result<&LocalInstance, InstanceError> {
        let is_it = |instance: &&LocalInstance| instance.planned.config.name == name;
        self.list
            .iter()
            .find(is_it)
            .ok_or_else(|| InstanceError::Unknown {
                name: name.to_owned(),
                names: self.addresses().map(|(name, _)| name).collect(),
            })
    }
}

impl LocalInstance {
    fn is_running(&self) -> bool {
        self.running
            .try_lock()
            .is_ok_and(|running| running.is_some())
    }

    /// Returns false when it was not running.
    async fn stop(&self, now: bool) -> bool {
        let mut lock = self.running.lock().await;
        let Some(running) = lock.take() else {
            return false;
        };
        if now {
            running.stop.cancel();
        } else {
            running.drain.cancel();
        }
        // A panic of the task is a failure that `serve` has reported.
        let _ = running.task.await;
        error_span!("instance", name = self.planned.config.name)
            .in_scope(|| info!("instance stopped"));
        true
    }
}

async fn bind(planned: &Planned) -> Result<Node, StartError> {
    let instance = planned.config.name.clone();
    Node::bind(planned.config.clone())
        .await
        .map_err(|error| match error {
            BindError::InUse { field, address } => StartError::InUse {
                instance,
                address,
                option: planned.option(field),
            },
            BindError::NotAllowed { field, address } => StartError::NotAllowed {
                instance,
                address,
                option: planned.option(field),
            },
            BindError::Listen {
                address, source, ..
            } => StartError::Listen {
                instance,
                address,
                source,
            },
            source => StartError::Bind { instance, source },
        })
}

fn serve(node: Node, abort: &CancellationToken, failed: &CancellationToken) -> Running {
    let (drain, stop) = (CancellationToken::new(), abort.child_token());
    let served = node.run(drain.clone(), stop.clone());
    let (drained, stopped) = (drain.clone(), stop.clone());
    // Dropped at the end of the task, also by a panic.
    let failed = failed.clone();
    let task = tokio::spawn(async move {
        let on_end = failed.drop_guard();
        served.await;
        if drained.is_cancelled() || stopped.is_cancelled() {
            on_end.disarm();
        }
    });
    Running { drain, stop, task }
}

/// Returns an address that a client can connect to: "every address" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
