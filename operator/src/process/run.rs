//! `operator run`: from the start of the process to its end.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::events::Reporter;
use kube::{Api, Client, Config};
use livecluster_api::ClusterName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::desired::Defaults;
use crate::k8s::client::{self, Calls};
use crate::k8s::event_recorder::Publisher;
use crate::k8s::permissions::{self, PermissionError, Scope};
use crate::monitoring::metrics::Metrics;
use crate::monitoring::server::{self, Health, ListenError};
use crate::monitoring::watchdog::Watchdog;
use crate::observe::stream_sample;
use crate::observe::stream_scraper::{self, Streams};
use crate::process::leader_election::{Candidate, Lost};
use crate::reconcile::apply_cache::Memory;
use crate::reconcile::controller::{self, Context};
use crate::reconcile::reconciler::Operator;

/// Time for passes that have begun when the process is asked to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Time without an attempt at the lease after which something is wrong.
const LEASE_BEAT: Duration = Duration::from_secs(60);
/// Time without a round of questions after which something is wrong.
const SCRAPE_BEAT: Duration = Duration::from_secs(120);

/// What the operator is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Image of the nodes of clusters that name none.
    #[arg(long, env = "LIVECLUSTER_MEDIA_NODE_IMAGE", value_name = "IMAGE")]
    media_node_image: String,
    /// Rolls clusters that name no image to a new default image at once, instead of letting them keep theirs.
    #[arg(long, env = "LIVECLUSTER_ROLL_DEFAULT_IMAGE", value_name = "BOOL", num_args = 0..=1,
          default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    roll_default_image: bool,
    /// Namespaces whose clusters are run; all when none is given.
    #[arg(
        long,
        env = "LIVECLUSTER_WATCH_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    watch_namespace: Vec<String>,
    /// Whether to look for the Secrets that a cluster names: takes the permission to get Secrets.
    #[arg(long, env = "LIVECLUSTER_CHECK_SECRETS", value_name = "BOOL", num_args = 0..=1,
          default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    check_secrets: bool,
    /// Namespace of the operator: there is its Lease. That of the kubeconfig when absent.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: Option<String>,
    /// Name by which the operator holds the Lease; the host's name when absent. No two operators have the same.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Name of the Lease. Operators with the same one stand in for each other.
    #[arg(
        long,
        env = "LIVECLUSTER_LEASE_NAME",
        default_value = "livecluster-operator"
    )]
    lease_name: String,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "LIVECLUSTER_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Form of log lines.
    #[arg(long, env = "LIVECLUSTER_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,operator=debug`.
    #[arg(long, env = "LIVECLUSTER_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Why the operator ends before it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The filter of log lines makes no sense.
    #[error("--log-level {0}: {1}")]
    LogLevel(String, tracing_subscriber::filter::ParseError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// Two metrics have the same name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// There is no way to the API.
    #[error("no Kubernetes to work with")]
    Client(#[source] Box<kube::Error>),
    /// The port is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something is not allowed.
    #[error(transparent)]
    Permission(PermissionError),
    /// Another operator leads. Whatever is still going on here must end with the process.
    #[error("the leadership is lost")]
    Lost(#[from] Lost),
    /// A part ended that never ends.
    #[error("{0} ended by itself")]
    Ended(&'static str),
}

/// Runs the operator until SIGTERM or Ctrl-C: stands by, leads, lets go.
///
/// # Errors
/// See [`RunError`]. After [`RunError::Lost`] the process must end at once: a pass in the middle cannot be stopped.
pub async fn run(options: Options) -> Result<(), RunError> {
    start_log(&options)?;
    let stop = stop_on_signal().map_err(RunError::Signals)?;
    let config = client::config().await.map_err(no_client)?;
    let metrics = Metrics::new()?;
    let watchdog = Arc::new(Watchdog::default());
    let health = Arc::new(Health {
        watchdog: watchdog.clone(),
        metrics: metrics.clone(),
        ready: AtomicBool::new(false),
    });
    let listener = server::listen(options.listen).await?;
    let mut served = tokio::spawn(server::serve(listener, health.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %options.listen, "operator starts");
    let process = Process {
        options: &options,
        config: &config,
        metrics,
        watchdog,
        stop: stop.clone(),
    };
    let result = tokio::select! {
        result = process.work(&health) => result,
        _ = &mut served => Err(RunError::Ended("the HTTP port")),
    };
    served.abort();
    tracing::info!("operator ends");
    result
}

/// The process, ready to work.
struct Process<'a> {
    options: &'a Options,
    config: &'a Config,
    metrics: Metrics,
    watchdog: Arc<Watchdog>,
    stop: CancellationToken,
}

impl Process<'_> {
    async fn work(&self, health: &Health) -> Result<(), RunError> {
        let client = client::client(self.config).map_err(no_client)?;
        let calls = Calls::new(self.metrics.clone());
        if !self.check_permissions(&client, &calls).await? {
            return Ok(());
        }
        health.ready.store(true, Ordering::Relaxed);
        let mut candidate = self.candidate(&calls)?;
        let alive = || self.watchdog.beat("the lease", LEASE_BEAT);
        tokio::select! {
            () = candidate.acquire(alive) => {}
            () = self.stop.cancelled() => return Ok(()),
        }
        tracing::info!("leads");
        self.metrics.leads(true);
        let release = CancellationToken::new();
        let lead = candidate.lead(&release, alive);
        tokio::pin!(lead);
        tokio::select! {
            lost = &mut lead => lost?,
            ended = self.act(client, calls) => ended?,
        }
        self.metrics.leads(false);
        // Only now, with all passes at their end, may the next one start.
        release.cancel();
        Ok(lead.await?)
    }

    /// Waits for an API that answers, and asks it. False when the process was asked to end meanwhile.
    async fn check_permissions(&self, client: &Client, calls: &Calls) -> Result<bool, RunError> {
        let scope = Scope {
            watched: self.watched(),
            own: self.own_namespace(),
            secrets: self.options.check_secrets,
        };
        let mut wait = Duration::from_secs(1);
        loop {
            let checked = tokio::select! {
                checked = permissions::check(client, calls, &scope) => checked,
                () = self.stop.cancelled() => return Ok(false),
            };
            match checked {
                Ok(()) => return Ok(true),
                Err(PermissionError::Call(error)) => {
                    tracing::warn!(%error, "the API cannot be asked for permissions yet");
                }
                Err(error) => return Err(RunError::Permission(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(15)),
                () = self.stop.cancelled() => return Ok(false),
            }
        }
    }

    fn candidate(&self, calls: &Calls) -> Result<Candidate, RunError> {
        let client = client::lease_client(self.config).map_err(no_client)?;
        let leases: Api<Lease> = Api::namespaced(client, &self.own_namespace());
        let lease = self.options.lease_name.clone();
        Ok(Candidate::new(
            leases,
            calls.clone(),
            lease,
            self.identity(),
        ))
    }

    /// A Pod's name is its own, also over a restart of its container: that one goes on at once. Outside of a cluster
    /// several may run on one host.
    fn identity(&self) -> String {
        self.options.identity.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        })
    }

    fn own_namespace(&self) -> String {
        let configured = &self.config.default_namespace;
        self.options
            .namespace
            .clone()
            .unwrap_or_else(|| configured.clone())
    }

    fn watched(&self) -> Vec<String> {
        let mut watched = self.options.watch_namespace.clone();
        watched.retain(|namespace| !namespace.is_empty());
        watched.sort();
        watched.dedup();
        watched
    }

    /// What a leader does, until it is asked to end.
    async fn act(&self, client: Client, calls: Calls) -> Result<(), RunError> {
        let reporter = Reporter {
            controller: "livecluster.dev/operator".to_owned(),
            instance: Some(self.identity()),
        };
        let operator = Operator {
            publisher: Publisher::new(client.clone(), calls.clone(), reporter),
            client,
            calls,
            defaults: Defaults {
                image: self.options.media_node_image.clone(),
                roll_image: self.options.roll_default_image,
                operator_namespace: self.options.namespace.clone(),
            },
            check_secrets: self.options.check_secrets,
            memory: Memory::default(),
            streams: Streams::default(),
            metrics: self.metrics.clone(),
        };
        let context = Arc::new(Context::new(operator, self.watchdog.clone()));
        let watched = self.watched();
        let namespaces: Vec<Option<String>> = if watched.is_empty() {
            vec![None]
        } else {
            watched.into_iter().map(Some).collect()
        };
        let mut news = Vec::new();
        let mut controllers = JoinSet::new();
        for namespace in namespaces {
            let (sender, receiver) = mpsc::channel(QUEUE);
            news.push((namespace.clone(), sender));
            let stop = self.stop.clone();
            controllers.spawn(controller::run(context.clone(), namespace, receiver, stop));
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = controllers.join_next() => return Err(RunError::Ended("a controller")),
            () = ask_nodes(&context, &news) => return Err(RunError::Ended("asking the nodes")),
        }
        self.finish(controllers).await;
        Ok(())
    }

    /// Passes that have begun come to their end, within a limit.
    async fn finish(&self, mut controllers: JoinSet<()>) {
        let all = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
            tracing::warn!("a pass does not end; it is left behind");
        }
    }
}

/// Clusters with news that may wait for their pass. A full queue loses nothing: the numbers are read at the next pass.
const QUEUE: usize = 1024;

/// Asks the nodes of all clusters again and again, and wakes the controllers of those that have news.
async fn ask_nodes(context: &Context, news: &[(Option<String>, mpsc::Sender<ClusterName>)]) {
    let operator = &context.operator;
    let mut timer = tokio::time::interval(stream_scraper::INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        context.watchdog.beat("asking the nodes", SCRAPE_BEAT);
        let ask = async |target: stream_scraper::Target| {
            let answer = stream_sample::fetch(target.address).await;
            operator.metrics.scrape(answer.is_ok());
            answer
                .inspect_err(
                    |error| tracing::debug!(address = %target.address, %error, "no answer"),
                )
                .ok()
        };
        for cluster in operator.streams.round(Instant::now(), ask).await {
            let controller = news.iter().find(|(namespace, _)| {
                namespace
                    .as_ref()
                    .is_none_or(|namespace| *namespace == cluster.namespace)
            });
            if let Some((_, sender)) = controller {
                // Full: the next pass reads the numbers anyway.
                drop(sender.try_send(cluster));
            }
        }
    }
}

fn no_client(error: kube::Error) -> RunError {
    RunError::Client(Box::new(error))
}

fn start_log(options: &Options) -> Result<(), RunError> {
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log_level)
        .map_err(|error| RunError::LogLevel(options.log_level.clone(), error))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}

/// The first SIGTERM or Ctrl-C ends the work, a second one the process.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to end");
        stopped.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("asked again: ends at once");
        std::process::exit(1);
    });
    Ok(stop)
}
