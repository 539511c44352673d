//! `operator uninstall-check`: fails while LiveClusters exist. A hook of the chart runs it before an uninstallation that would
//! delete the CustomResourceDefinition, and with it every LiveCluster and its streams.

use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use livecluster_api::{ClusterName, LiveCluster};

use crate::k8s::call_error::CallError;

/// LiveClusters that the message names. Of many, a few are enough to find the others.
const NAMED: usize = 10;

/// The uninstallation is refused.
#[derive(Debug, thiserror::Error)]
pub enum UninstallRefused {
    /// There is no usable configuration of a Kubernetes client.
    #[error("failed to configure the Kubernetes client")]
    Client(#[source] Box<kube::Error>),
    /// The LiveClusters cannot be listed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// LiveClusters exist.
    #[error(
        "{count} LiveClusters exist, and the uninstallation would delete them with their streams: {names}. Delete them first. To \
         keep them, run `helm rollback RELEASE REVISION` with the last revision of `helm history`, as no upgrade is possible before, and \
         then `helm upgrade` with crds.keep=true"
    )]
    InUse {
        /// The number of LiveClusters.
        count: usize,
        /// The first ones.
        names: String,
    },
}

/// Fails while LiveClusters exist in any namespace.
///
/// # Errors
/// See [`UninstallRefused`].
pub async fn run() -> Result<(), UninstallRefused> {
    let client = Client::try_default().await;
    check(client.map_err(|error| UninstallRefused::Client(Box::new(error)))?).await
}

async fn check(client: Client) -> Result<(), UninstallRefused> {
    let resource = ApiResource::erase::<LiveCluster>(&());
    let clusters: Api<DynamicObject> = Api::all_with(client, &resource);
    let listed = clusters.list(&ListParams::default()).await;
    let clusters = match listed.map_err(CallError::on("list", "LiveCluster", "")) {
        Ok(clusters) => clusters.items,
        // There is no CustomResourceDefinition.
        Err(error) if error.status().is_some_and(|status| status.is_not_found()) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if clusters.is_empty() {
        return Ok(());
    }
    let names = clusters.iter().take(NAMED);
    let names: Vec<String> = names.map(|it| ClusterName::of(it).to_string()).collect();
    Err(UninstallRefused::InUse {
        count: clusters.len(),
        names: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    #[tokio::test]
    async fn uninstallation_is_refused_while_clusters_exist() {
        let (client, api) = FakeApi::start();
        check(client.clone()).await.unwrap();
        let cluster = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": "demo", "namespace": "media"}
        });
        api.put("liveclusters/demo", cluster);
        let refused = check(client).await.unwrap_err().to_string();
        assert!(refused.starts_with("1 LiveClusters exist"), "{refused}");
        assert!(refused.contains("streams: media/demo. Delete"), "{refused}");
    }

    #[tokio::test]
    async fn cluster_without_the_definition_may_be_left() {
        let (client, api) = FakeApi::start();
        api.refuse(
            Method::GET,
            "liveclusters",
            404,
            "NotFound",
            "page not found",
        );
        check(client).await.unwrap();
    }
}
