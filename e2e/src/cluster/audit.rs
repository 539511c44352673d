//! What the operator asked of the API server, from the API server's own audit log.

use anyhow::Context;
use serde::Deserialize;

use super::Cluster;

/// One request of the operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `patch` and so on.
    pub verb: String,
    /// The path and its parameters.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    pub user: User,
    /// What for.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// What was answered.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// When it came.
    pub request_received_timestamp: k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub username: String,
}

/// What a request is about.
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

/// What was answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResponseStatus {
    /// The HTTP status.
    pub code: u16,
}

impl Request {
    /// Whether it may change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Cluster {
    /// Everything that the operator asked for so far.
    ///
    /// # Errors
    /// When there is no audit log: the cluster is not the one that `e2e/run` makes.
    pub async fn requests(&self) -> anyhow::Result<Vec<Request>> {
        let log = self
            .on(
                &self.front().name,
                &["cat", "/var/log/kubernetes/audit.log"],
            )
            .await
            .context("the API server's audit log")?;
        let account = format!(
            "system:serviceaccount:{}:{}",
            self.release.namespace,
            self.release.deployment()
        );
        let mut requests = Vec::new();
        for line in log.lines().filter(|line| line.contains(&account)) {
            let request: Request = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if request.user.username == account {
                requests.push(request);
            }
        }
        Ok(requests)
    }
}
