//! `operator run`: from the start of the process to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::events::Reporter;
use kube::{Api, Client, Config};
use livecluster_api::OperatorName;
use tokio_util::sync::CancellationToken;

use super::leader::{self, TaskEnded};
use super::leader_election::{LeaderElector, LeadershipLost};
use super::options::RunOptions;
use super::signals;
use crate::k8s::client;
use crate::k8s::permissions::{self, PermissionError, PermissionScope};
use crate::k8s::request_layer::RequestLayer;
use crate::k8s::write_fence::WriteFence;
use crate::monitoring::metrics::OperatorMetrics;
use crate::monitoring::server::{self, Health, HealthPortError};
use crate::monitoring::watchdog::Watchdog;
use crate::reconcile::claim::OperatorIdentity;
use crate::reconcile::controller::ControllerContext;
use crate::reconcile::owner_leases::WATCHED_NAMESPACES;
use crate::reconcile::reconciler::Reconciler;

/// Time without an attempt to hold the lease after which the elector is stalled.
const LEASE_HEARTBEAT_LIMIT: Duration = Duration::from_secs(60);
/// Longest time between two attempts to verify the permissions.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// Why the operator ends before it is stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log filter is invalid.
    #[error("--log-level {0}: {1}")]
    LogLevel(String, media_log::ParseError),
    /// Signal handlers cannot be installed.
    #[error("failed to install signal handlers")]
    Signals(#[source] std::io::Error),
    /// Two metrics have the same name.
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
    /// There is no usable configuration of a Kubernetes client.
    #[error("failed to configure the Kubernetes client")]
    Client(#[source] Box<kube::Error>),
    /// The HTTP port cannot be opened.
    #[error(transparent)]
    Listen(#[from] HealthPortError),
    /// A permission is missing.
    #[error(transparent)]
    Permission(PermissionError),
    /// Another operator may be the leader. Tasks that are still running must end with the process.
    #[error("leadership lost")]
    LeadershipLost(#[from] LeadershipLost),
    /// A task has ended that is to run until the process stops.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
}

/// Runs the operator until SIGTERM or Ctrl-C: stands by, becomes the leader, releases the lease.
///
/// # Errors
/// See [`RunError`]. After [`RunError::LeadershipLost`] the process must exit: a reconciliation in progress is not
/// stopped otherwise.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    media_log::start(&options.log_level, options.log_format.into())
        .map_err(|error| RunError::LogLevel(options.log_level.clone(), error))?;
    let stop = signals::stop_on_signal().map_err(RunError::Signals)?;
    let config = client::config().await.map_err(client_error)?;
    let metrics = OperatorMetrics::new()?;
    let health = Arc::new(Health {
        watchdog: Arc::default(),
        metrics: metrics.clone(),
        ready: AtomicBool::new(false),
    });
    let listener = server::listen(options.listen).await?;
    let mut served = tokio::spawn(server::serve(listener, health.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %options.listen, "started");
    let process = OperatorProcess {
        options: &options,
        config: &config,
        requests: RequestLayer::new(metrics.clone()),
        metrics,
        watchdog: health.watchdog.clone(),
        stop,
    };
    let result = tokio::select! {
        result = process.run(&health.ready) => result,
        _ = &mut served => Err(TaskEnded("the HTTP server").into()),
    };
    served.abort();
    tracing::info!("stopped");
    result
}

/// The parts of the process that its whole life needs.
struct OperatorProcess<'a> {
    options: &'a RunOptions,
    config: &'a Config,
    requests: RequestLayer,
    metrics: OperatorMetrics,
    watchdog: Arc<Watchdog>,
    stop: CancellationToken,
}

impl OperatorProcess<'_> {
    async fn run(&self, ready: &AtomicBool) -> Result<(), RunError> {
        let client = client::client(self.config, &self.requests).map_err(client_error)?;
        if !self.verify_permissions(&client).await? {
            return Ok(());
        }
        ready.store(true, Ordering::Relaxed);
        let fence = WriteFence::closed();
        let mut elector = self.elector(&fence)?;
        let heartbeat = || self.watchdog.heartbeat("the lease", LEASE_HEARTBEAT_LIMIT);
        tokio::select! {
            () = elector.acquire(heartbeat) => {}
            () = self.stop.cancelled() => return Ok(()),
        }
        tracing::info!("leading");
        self.metrics.set_leader(true);
        let release = CancellationToken::new();
        let holding = elector.hold(&release, heartbeat);
        tokio::pin!(holding);
        let context = Arc::new(self.controller_context(&fence)?);
        let watched_namespaces = self.options.watched_namespaces();
        tokio::select! {
            lost = &mut holding => lost?,
            ended = leader::run(context, watched_namespaces, self.options.token_file.as_deref(), &self.stop) => ended?,
        }
        self.metrics.set_leader(false);
        // The next leader may start only now: all reconciliations have ended.
        release.cancel();
        Ok(holding.await?)
    }

    /// Verifies the permissions as soon as the API server responds. Returns false when the process is stopped meanwhile.
    async fn verify_permissions(&self, client: &Client) -> Result<bool, RunError> {
        let scope = PermissionScope {
            watched: self.options.watched_namespaces(),
            own: self.own_namespace(),
            lease: self.options.lease_name.clone(),
            account: self.options.service_account.clone(),
            secrets: self.options.check_secrets,
        };
        let mut wait = Duration::from_secs(1);
        loop {
            let verified = tokio::select! {
                verified = permissions::verify(client, &scope) => verified,
                () = self.stop.cancelled() => return Ok(false),
            };
            match verified {
                Ok(()) => return Ok(true),
                Err(PermissionError::Call(error)) => {
                    tracing::warn!(%error, "permissions not verified yet");
                }
                Err(error) => return Err(RunError::Permission(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(MAX_RETRY_INTERVAL),
                () = self.stop.cancelled() => return Ok(false),
            }
        }
    }

    fn elector(&self, fence: &WriteFence) -> Result<LeaderElector, RunError> {
        let client = client::lease_client(self.config, &self.requests).map_err(client_error)?;
        let leases: Api<Lease> = Api::namespaced(client, &self.own_namespace());
        let watched = self.options.watched_namespaces().join(",");
        Ok(LeaderElector::new(
            leases,
            self.options.lease_name.clone(),
            self.options.identity(),
            BTreeMap::from([(WATCHED_NAMESPACES.to_owned(), watched)]),
            fence.clone(),
        ))
    }

    fn controller_context(&self, fence: &WriteFence) -> Result<ControllerContext, RunError> {
        let client =
            client::leader_client(self.config, &self.requests, fence).map_err(client_error)?;
        let reporter = Reporter {
            controller: "livecluster.dev/operator".to_owned(),
            instance: Some(self.options.identity()),
        };
        let reconciler = Reconciler::new(
            client,
            reporter,
            self.metrics.clone(),
            self.options.defaults(),
            self.options.check_secrets,
            OperatorIdentity {
                name: OperatorName {
                    namespace: self.own_namespace(),
                    lease: self.options.lease_name.clone(),
                },
                class: self.options.operator_class.clone(),
            },
            self.options.upgrade_pace(),
        );
        Ok(ControllerContext::new(reconciler, self.watchdog.clone()))
    }

    fn own_namespace(&self) -> String {
        let namespace = self.options.namespace.as_ref();
        namespace.unwrap_or(&self.config.default_namespace).clone()
    }
}

fn client_error(error: kube::Error) -> RunError {
    RunError::Client(Box::new(error))
}
