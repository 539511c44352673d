//! The options of `operator run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use media_log::LineFormat;

use crate::desired::defaults::Defaults;
use crate::desired::metrics_clients::MetricsClients;
use crate::reconcile::upgrade_queue::UpgradePace;

/// The options of `operator run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// Image of the Pods of clusters whose spec has no image.
    #[arg(long, env = "LIVECLUSTER_MEDIA_NODE_IMAGE", value_name = "IMAGE")]
    pub(super) media_node_image: String,
    /// Whether clusters whose spec has no image roll out a new default image, instead of keeping theirs.
    #[arg(long, env = "LIVECLUSTER_ROLL_DEFAULT_IMAGE", value_name = "BOOL", num_args = 0..=1,
          default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) roll_default_image: bool,
    /// Clusters that roll at a time when this version of the operator changes their Pods.
    #[arg(long, env = "LIVECLUSTER_UPGRADE_CONCURRENCY", value_name = "CLUSTERS", default_value = "1",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    upgrade_concurrency: u16,
    /// Seconds between the end of such a rollout and the begin of the next one, and before the first one.
    #[arg(long, env = "LIVECLUSTER_UPGRADE_PAUSE_SECONDS", value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u32).range(..=86400))]
    upgrade_pause_seconds: u32,
    /// Namespaces whose clusters are reconciled; all namespaces when none is given.
    #[arg(
        long,
        env = "LIVECLUSTER_WATCH_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    watch_namespace: Vec<String>,
    /// Whether to verify that the Secrets in a spec exist. Needs the permission to get Secrets.
    #[arg(long, env = "LIVECLUSTER_CHECK_SECRETS", value_name = "BOOL", num_args = 0..=1,
          default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) check_secrets: bool,
    /// Namespace of the operator and its Lease; that of the kubeconfig when absent.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// ServiceAccount of the operator. Media nodes accept its tokens.
    #[arg(long, env = "POD_SERVICE_ACCOUNT", value_name = "NAME")]
    pub(super) service_account: Option<String>,
    /// File with the operator's token for media nodes of the release before, which has the audience `livecluster.dev/operator`. Newer
    /// ones have an audience for each LiveCluster, for which the API server issues tokens to the ServiceAccount.
    #[arg(long, env = "LIVECLUSTER_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Clients that the NetworkPolicies of all clusters admit to the metrics of the Pods: a JSON list of peers as in a
    /// NetworkPolicy's `ingress.from`.
    #[arg(
        long,
        env = "LIVECLUSTER_METRICS_FROM",
        value_name = "JSON",
        default_value = "[]"
    )]
    metrics_from: MetricsClients,
    /// Name of the operator as the holder of the Lease; host name and process ID when absent. Must be unique.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Name of the Lease. Of all operators with the same Lease, one is the leader.
    #[arg(
        long,
        env = "LIVECLUSTER_LEASE_NAME",
        default_value = "livecluster-operator"
    )]
    pub(super) lease_name: String,
    /// Class of the clusters that this operator reconciles, as in `spec.operatorClass`; those without a class when absent.
    #[arg(long, env = "LIVECLUSTER_OPERATOR_CLASS", default_value = "")]
    pub(super) operator_class: String,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "LIVECLUSTER_LISTEN", default_value = "[::]:8080")]
    pub(super) listen: SocketAddr,
    /// Format of log lines.
    #[arg(long, env = "LIVECLUSTER_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: OperatorLogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,operator=debug`.
    #[arg(long, env = "LIVECLUSTER_LOG_LEVEL", default_value = "info")]
    pub(super) log_level: String,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OperatorLogFormat {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

impl From<OperatorLogFormat> for LineFormat {
    fn from(format: OperatorLogFormat) -> Self {
        match format {
            OperatorLogFormat::Text => Self::Text,
            OperatorLogFormat::Json => Self::FlatJson,
        }
    }
}

impl RunOptions {
    /// Returns the operator's name as the holder of the Lease.
    ///
    /// A Pod keeps its name when its container restarts: the new process is the leader again immediately. Outside of a
    /// cluster several operators may run on one host.
    pub(super) fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        })
    }

    /// Returns the watched namespaces; all when empty.
    pub(super) fn watched_namespaces(&self) -> Vec<String> {
        let mut watched = self.watch_namespace.clone();
        watched.retain(|namespace| !namespace.is_empty());
        watched.sort();
        watched.dedup();
        watched
    }

    /// Returns how fast clusters roll when the operator has changed.
    pub(super) fn upgrade_pace(&self) -> UpgradePace {
        UpgradePace {
            concurrency: self.upgrade_concurrency.into(),
            pause: Duration::from_secs(self.upgrade_pause_seconds.into()),
        }
    }

    /// Returns the options that shape the objects of clusters.
    pub(super) fn defaults(&self) -> Defaults {
        Defaults {
            image: self.media_node_image.clone(),
            roll_image: self.roll_default_image,
            metrics_clients: self.metrics_from.clone(),
            operator_namespace: self.namespace.clone(),
            operator_account: self.service_account.clone(),
        }
    }
}
