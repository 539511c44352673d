//! The way to the Kubernetes API: clients without hidden retries, and a time limit on every call.

use std::future::Future;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::core::Status;
use kube::{Client, Config};

use crate::monitoring::metrics::Metrics;

/// Who owns the fields that the operator applies. It never changes: another name would leave fields behind that
/// nobody gives up.
pub const MANAGER: &str = "livecluster-operator";
/// Who owns `spec.replicas`, which is set through `/scale` only.
pub const SCALE_MANAGER: &str = "livecluster-operator-scale";

/// Time that a call may take. The API server answers in milliseconds; what takes longer is better tried again.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API refused it, or was not reached.
    #[error("cannot {verb} {what}: {}", text(.source))]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// The object or kind.
        what: String,
        /// What the API or the network said.
        source: Box<kube::Error>,
    },
    /// No answer came.
    #[error("cannot {verb} {what}: no answer within {} seconds", limit.as_secs())]
    TimedOut {
        /// What was tried.
        verb: &'static str,
        /// The object or kind.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl CallError {
    /// The API's answer, when there is one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Failed { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// Whether nothing can be made any more, as the namespace goes away.
    pub fn is_namespace_end(&self) -> bool {
        let details = self.status().and_then(|status| status.details.as_ref());
        details.is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        })
    }
}

/// The API's own message; else the error with its causes, which say what the network did.
fn text(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Makes calls: each has a time limit and is counted.
#[derive(Clone, Debug)]
pub struct Calls {
    metrics: Metrics,
}

impl Calls {
    /// Counts into `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// Waits for `call`, at most [`LIMIT`]. `kind` is that of the object, `name` its name or nothing for a list.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<T>(
        &self,
        verb: &'static str,
        kind: &str,
        name: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let what = || format!("{kind} {name}").trim_end().to_owned();
        match tokio::time::timeout(LIMIT, call).await {
            Ok(Ok(answer)) => {
                self.metrics.api_request(verb, kind, "200");
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.metrics.api_request(verb, kind, &code(&error));
                Err(CallError::Failed {
                    verb,
                    what: what(),
                    source: Box::new(error),
                })
            }
            Err(_) => {
                self.metrics.api_request(verb, kind, "timeout");
                Err(CallError::TimedOut {
                    verb,
                    what: what(),
                    limit: LIMIT,
                })
            }
        }
    }
}

fn code(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.code.to_string(),
        _ => "error".to_owned(),
    }
}

/// The configuration of all clients: that of the Pod, or of `KUBECONFIG`.
///
/// # Errors
/// When there is neither.
pub async fn config() -> Result<Config, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    // kube tries up to 15 times in silence; a pass that fails is better seen, counted and tried again as a whole.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let agent = concat!("livecluster-operator/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    Ok(config)
}

/// A client for everything but the Lease.
///
/// # Errors
/// When the configuration has unusable credentials.
pub fn client(config: &Config) -> Result<Client, kube::Error> {
    Client::try_from(config.clone())
}

/// A client of its own for the Lease, with connections of its own: a watch that stalls must not cost the leadership.
///
/// # Errors
/// As [`client`].
pub fn lease_client(config: &Config) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    config.read_timeout = Some(Duration::from_secs(5));
    config.reset_reader_on_write = true;
    Client::try_from(config)
}
