//! What the operator asked of the API server, from the API server's audit log.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;

use super::{Cluster, Namespace, Release};

/// One request of the operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedRequest {
    /// `get`, `list`, `watch`, `create`, `patch` and so on.
    pub verb: String,
    /// The path and its parameters.
    #[serde(rename = "requestURI")]
    pub uri: String,
    user: User,
    /// The object of the request.
    #[serde(default)]
    pub object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: MicroTime,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// The object of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ObjectRef {
    /// Its resource, such as `deployments`.
    pub resource: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl AuditedRequest {
    /// Whether it may change something. An access review is created, but asks only what is permitted.
    pub fn writes(&self) -> bool {
        let reads = matches!(self.verb.as_str(), "get" | "list" | "watch");
        !reads && self.object_ref.resource != "selfsubjectaccessreviews"
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        self.response_status.code
    }

    /// When the API server received it.
    pub fn at(&self) -> Timestamp {
        self.request_received_timestamp.0
    }

    /// The Pod that sent it, which its token names.
    pub fn pod(&self) -> Option<&str> {
        let names = self.user.extra.get("authentication.kubernetes.io/pod-name");
        names?.first().map(String::as_str)
    }
}

impl Cluster {
    /// Returns every request of the operator since a time, as [`Self::requests_of`].
    pub async fn requests(&self, since: Timestamp) -> Result<Vec<AuditedRequest>> {
        self.requests_of(&self.release, since).await
    }

    /// Returns every request of an operator since a time. Only the cluster that `e2e/run` creates has an audit log.
    pub async fn requests_of(
        &self,
        operator: &Release,
        since: Timestamp,
    ) -> Result<Vec<AuditedRequest>> {
        let cat = "cat /var/log/kubernetes/audit.log";
        let log = self.on(&self.front().name, cat).await;
        let log = log.context("the API server's audit log")?;
        let (namespace, name) = (&operator.namespace, operator.deployment());
        let account = format!("system:serviceaccount:{namespace}:{name}");
        let mut requests = Vec::new();
        for line in log.lines().filter(|line| line.contains(&account)) {
            let request: AuditedRequest = match serde_json::from_str(line) {
                // The API server is writing it.
                Err(error) if error.is_eof() => continue,
                request => request.with_context(|| line.to_owned())?,
            };
            if request.user.username == account && request.at() > since {
                requests.push(request);
            }
        }
        let named = !requests.is_empty();
        ensure!(named, "the audit log does not name {account}");
        Ok(requests)
    }
}

impl Namespace {
    /// Returns the requests of the operator that concern this namespace, as [`Cluster::requests`].
    pub async fn requests(&self, since: Timestamp) -> Result<Vec<AuditedRequest>> {
        let mut requests = self.cluster.requests(since).await?;
        requests.retain(|request| request.object_ref.namespace == self.name);
        Ok(requests)
    }
}
