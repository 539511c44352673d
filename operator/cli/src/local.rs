//! `livecluster local`: the origins and edges of a manifest on this machine, without Kubernetes.
//!
//! ```text
//! manifest (what the API server accepts) ── plan (ports; what a Pod is told) ── media_node::Node, one each
//!                                                                        demo ──┘ by RTMP
//! ```

mod demo;
pub mod manifest;
mod plan;
mod schema;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use media_config::{LogFormat, LogSettings, Role};
use media_node::{BindError, Node};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use livecluster_api::LiveCluster;
use manifest::ManifestError;
use plan::{Planned, Ports};
use table::Row;

pub use plan::PlanError;

/// How long the demo waits before it tries an origin again.
const DEMO_RETRY: Duration = Duration::from_secs(2);

/// What `livecluster local` is asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The LiveCluster manifest
    pub file: PathBuf,
    /// Publishes a built-in clip as live/livestream, again and again
    #[arg(long)]
    pub demo: bool,
    /// Where the nodes listen.
    #[command(flatten)]
    pub ports: Ports,
}

/// Why the nodes do not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The manifest is not one.
    #[error("{}", file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// There are not enough ports.
    #[error("{}", file.display())]
    Plan {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: PlanError,
    },
    /// Somebody else has a port.
    #[error("{node}: port {} of {} is in use by another program: stop that one, or choose with {option}",
        address.port(), address.ip())]
    InUse {
        /// `edge 1`.
        node: String,
        /// What is taken.
        address: SocketAddr,
        /// What moves it.
        option: &'static str,
    },
    /// A node does not start for another reason.
    #[error("{node} cannot start")]
    Bind {
        /// `edge 1`.
        node: String,
        /// Why.
        source: BindError,
    },
    /// `spec.logs.level` is no filter.
    #[error("spec.logs.level")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    /// Signals cannot be waited for, or nothing can be printed.
    #[error("the system refuses")]
    System(#[from] std::io::Error),
    /// A node ended without being asked to: a fault of this program.
    #[error("a node has failed")]
    Failed,
}

/// Starts the nodes and waits until they have drained after Ctrl-C or SIGTERM. A second signal ends at once.
///
/// # Errors
/// See [`LocalError`]: nothing runs then.
pub async fn run(options: Options) -> Result<(), LocalError> {
    let file = options.file;
    let cluster = manifest::read(&file).map_err(|source| LocalError::Manifest {
        file: file.clone(),
        source,
    })?;
    let planned =
        plan::plan(&cluster, &options.ports).map_err(|source| LocalError::Plan { file, source })?;
    log_to_standard_error(&cluster.spec.logs)?;
    let mut signals = Signals::new()?;
    let nodes = bind(planned).await?;
    say_where(&cluster, &nodes, options.demo)?;

    let demo = options
        .demo
        .then(|| nodes.first().map(|(_, node)| node.addresses().rtmp));
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let mut running = JoinSet::new();
    for (_, node) in nodes {
        running.spawn(node.run(drain.clone(), stop.clone()));
    }
    let demo = demo
        .flatten()
        .map(|origin| tokio::spawn(keep_publishing(reachable(origin))));
    tokio::select! {
        () = signals.next() => {}
        _ = running.join_next() => return Err(LocalError::Failed),
    }
    eprintln!("stopping; Ctrl-C again stops at once");
    if let Some(demo) = demo {
        demo.abort();
    }
    drain.cancel();
    tokio::select! {
        () = signals.next() => stop.cancel(),
        () = async { while running.join_next().await.is_some() {} } => {}
    }
    Ok(())
}

/// Opens the ports of all nodes before any of them runs.
async fn bind(planned: Vec<Planned>) -> Result<Vec<(String, Node)>, LocalError> {
    let mut nodes = Vec::new();
    for Planned { label, config } in planned {
        let option = |field: &str| match (field, config.role) {
            ("listen.rtmp", Role::Origin) => "--rtmp-port",
            ("listen.rtmp", Role::Edge) => "--edge-rtmp-port",
            ("listen.http", Role::Origin) => "--http-port",
            ("listen.http", Role::Edge) => "--edge-http-port",
            _ => "--internal-port",
        };
        match Node::bind(config.clone()).await {
            Ok(node) => nodes.push((label, node)),
            Err(BindError::InUse { field, address }) => {
                return Err(LocalError::InUse {
                    node: label,
                    address,
                    option: option(field),
                });
            }
            Err(source) => {
                return Err(LocalError::Bind {
                    node: label,
                    source,
                });
            }
        }
    }
    Ok(nodes)
}

fn say_where(
    cluster: &LiveCluster,
    nodes: &[(String, Node)],
    demo: bool,
) -> Result<(), std::io::Error> {
    let rows: Vec<Row> = nodes
        .iter()
        .map(|(label, node)| {
            let addresses = node.addresses();
            Row {
                label: label.clone(),
                rtmp: addresses.rtmp,
                http: addresses.http,
                internal: addresses.internal,
            }
        })
        .collect();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    out.write_all(table::table(name, &rows, demo).as_bytes())?;
    out.flush()
}

/// An address that can be dialled: "every address" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Publishes the demo clip until somebody else publishes its stream.
async fn keep_publishing(origin: SocketAddr) {
    loop {
        let Err(error) = demo::publish(origin).await else {
            continue;
        };
        if error.is_final() {
            info!(
                stream = demo::STREAM,
                reason = %error,
                "the demo clip has ended"
            );
            return;
        }
        warn!(
            error = &error as &dyn std::error::Error,
            "the demo clip is not published"
        );
        tokio::time::sleep(DEMO_RETRY).await;
    }
}

/// SIGINT and SIGTERM, which mean the same here.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn log_to_standard_error(settings: &LogSettings) -> Result<(), LocalError> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A program that has a log already keeps it.
    let _ = match settings.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}
