//! `livecluster local`: the origins and edges of a LiveCluster on this computer, without Kubernetes.
//!
//! ```text
//! manifest ── plan (names, ports, configurations) ── instances (media nodes) ── table (their URLs)
//!                                                        │
//!                                 demo (publishes a clip), control (stop and start from a second terminal)
//! ```

mod control;
mod demo;
mod instances;
mod mounts;
mod plan;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use livecluster_api::{ClusterName, LiveClusterSpec};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{Instrument as _, error_span};

use crate::manifest::{self, Manifest, ManifestError};
use control::{ControlCommand, ControlError};
use instances::{LocalInstances, StartError};
use mounts::{LocalMountError, Mounts};
use plan::{LocalPorts, PlanError};

/// Options of `livecluster local`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LocalOptions {
    #[command(subcommand)]
    command: Option<ControlCommand>,
    /// LiveCluster manifest; without it, one origin and two edges run, as with `spec: {}`
    file: Option<PathBuf>,
    /// Publish a built-in clip as live/livestream, in a loop
    #[arg(long)]
    demo: bool,
    /// Serve the files of this folder on the HTTP ports; its index.html replaces the player page
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// FLV file that viewers watch while a stream waits for an encoder
    #[arg(long, value_name = "FILE")]
    slate: Option<PathBuf>,
    #[command(flatten)]
    ports: LocalPorts,
}

/// Why the instances do not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The manifest is refused.
    #[error("{}", file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: ManifestError,
    },
    /// The Secrets and ConfigMaps that the spec names are not there.
    #[error(transparent)]
    Mount(#[from] LocalMountError),
    /// The instances cannot be assigned ports.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The demo publishes without TLS.
    #[error("--demo publishes without TLS: remove spec.tls.required, or --demo")]
    DemoNeedsRtmp,
    /// An instance cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Instances cannot be stopped and started from a second terminal.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// `spec.logs.level` is not a filter.
    #[error("spec.logs.level")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    /// Signals cannot be received, or standard output is closed.
    #[error("the operating system refuses")]
    System(#[from] std::io::Error),
    /// An instance ended by itself: a fault of this program.
    #[error("an instance has failed")]
    Failed,
}

/// Starts the instances and waits until they have drained after Ctrl-C or SIGTERM; or sends a command to a running `livecluster local`
/// to stop or start one of them.
///
/// # Errors
/// See [`LocalError`].
pub async fn run(options: LocalOptions) -> Result<(), LocalError> {
    if let Some(command) = options.command {
        println!("{}", control::execute(command)?.trim_end());
        return Ok(());
    }
    let cluster = read(options.file.as_deref())?;
    let mounts = Mounts::new(&cluster)?;
    let mut planned = plan::plan(
        &cluster,
        &options.ports,
        options.directory.as_deref(),
        mounts.root(),
    )?;
    if let Some(slate) = &options.slate {
        for it in &mut planned {
            it.config.slate = Some(slate.clone());
        }
    }
    if options.demo && planned.iter().any(|it| it.config.listen.rtmp.is_none()) {
        return Err(LocalError::DemoNeedsRtmp);
    }
    media_node::start_log(&cluster.spec.logs)?;
    let mut signals = Signals::new()?;
    let instances = Arc::new(LocalInstances::start(planned).await?);
    let control = control::Listener::bind(options.ports.rtmp_port)?;
    print_table(&cluster, &instances, options.demo)?;

    let origins = Arc::clone(&instances);
    let demo = async move {
        if options.demo {
            demo::keep_publishing(|| origins.first_origin()).await;
        }
    };
    let demo = tokio::spawn(demo.instrument(error_span!("demo")));
    let control = tokio::spawn(control.serve(Arc::clone(&instances)));
    let file = options.file;
    let follow = async {
        match file {
            Some(file) => mounts.follow(file).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.next() => {}
        () = follow => {}
        () = instances.failed() => return Err(LocalError::Failed),
    }
    // In a pipe, Ctrl-C also ends the reader of standard error.
    let _ = writeln!(
        std::io::stderr(),
        "stopping; Ctrl-C again stops immediately"
    );
    demo.abort();
    control.abort();
    tokio::select! {
        () = signals.next() => instances.abort(),
        () = instances.stop_all() => {}
    }
    Ok(())
}

fn read(file: Option<&Path>) -> Result<Manifest, LocalError> {
    let Some(file) = file else {
        return Ok(Manifest {
            name: ClusterName::new("", "local"),
            spec: LiveClusterSpec::default(),
            resources: Vec::new(),
        });
    };
    manifest::read(file).map_err(|source| LocalError::Manifest {
        file: file.to_owned(),
        source,
    })
}

fn print_table(cluster: &Manifest, instances: &LocalInstances, demo: bool) -> std::io::Result<()> {
    let rows: Vec<_> = instances
        .addresses()
        .map(|(name, addresses)| table::TableRow {
            name,
            rtmp: addresses.rtmp,
            http: addresses.http,
            rtmps: addresses.rtmps,
            https: addresses.https,
            metrics: addresses.metrics,
        })
        .collect();
    let program = std::env::args().next();
    let program = program.as_deref().unwrap_or("livecluster");
    let table = table::table(program, &cluster.name.name, &rows, demo);
    let mut out = std::io::stdout().lock();
    out.write_all(table.as_bytes())?;
    out.flush()
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
