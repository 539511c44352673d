//! Which kinds of the Gateway API the Kubernetes cluster serves. They may be installed and removed while the operator runs.

use std::collections::HashSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use livecluster_api::{ClusterName, LiveCluster};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::desired::gateway_kind::{GROUP, GatewayKind, GatewayVersion, ServedGatewayApi};
use crate::k8s::call_error::CallError;

/// Time for which an answer of the API server is reused while kinds are missing: they may be installed at any time.
const INCOMPLETE_CACHE_TIME: Duration = Duration::from_secs(30);
/// Time for which an answer of the API server is reused that has all kinds.
const COMPLETE_CACHE_TIME: Duration = Duration::from_secs(300);

/// The kinds of the Gateway API, as they were last discovered.
#[derive(Debug, Default)]
pub struct GatewayApi {
    discovery: Mutex<DiscoveredKinds>,
    /// The kinds that clusters use, for watches.
    watched: watch::Sender<ServedGatewayApi>,
    /// Clusters that have neither `spec.gateway` nor routes: their reconciliations need no request.
    without_routes: SyncMutex<HashSet<ClusterName>>,
}

#[derive(Debug, Default)]
struct DiscoveredKinds {
    last: Option<(Instant, ServedGatewayApi)>,
    /// The kinds at the last call of [`GatewayApi::have_changed`].
    reported: ServedGatewayApi,
    /// Whether a cluster has `spec.gateway`.
    is_used: bool,
}

impl GatewayApi {
    /// Returns the served kinds for a reconciliation; none for a cluster that has neither `spec.gateway` nor routes.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn served(
        &self,
        client: &Client,
        cluster: &LiveCluster,
    ) -> Result<ServedGatewayApi, CallError> {
        let name = ClusterName::of(cluster);
        let is_used = cluster.spec.gateway.is_some();
        if is_used {
            self.forget(&name);
        } else if self.without_routes.lock().contains(&name) {
            return Ok(ServedGatewayApi::default());
        }
        let mut discovery = self.discovery.lock().await;
        discovery.is_used |= is_used;
        self.current(client, &mut discovery).await
    }

    /// Remembers that a cluster has no routes. Only `spec.gateway` can change that.
    pub fn set_without_routes(&self, cluster: &LiveCluster) {
        self.without_routes.lock().insert(ClusterName::of(cluster));
    }

    /// Drops the state of a cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        self.without_routes.lock().remove(cluster);
    }

    /// Discovers the kinds again at the next occasion.
    pub async fn expire(&self) {
        self.discovery.lock().await.last = None;
    }

    /// Discovers the kinds again when the last answer is old, and a cluster needs them. Returns whether they have changed since the
    /// previous call.
    pub async fn have_changed(&self, client: &Client) -> bool {
        let mut discovery = self.discovery.lock().await;
        if !discovery.is_used {
            return false;
        }
        let Ok(served) = self.current(client, &mut discovery).await else {
            return false;
        };
        let before = std::mem::replace(&mut discovery.reported, served);
        before != discovery.reported
    }

    /// Returns a receiver of the kinds that clusters use.
    pub fn subscribe(&self) -> watch::Receiver<ServedGatewayApi> {
        self.watched.subscribe()
    }

    async fn current(
        &self,
        client: &Client,
        discovery: &mut DiscoveredKinds,
    ) -> Result<ServedGatewayApi, CallError> {
        let served = match discovery.cached() {
            Some(served) => served.clone(),
            None => {
                let served = discover(client).await?;
                discovery.last = Some((Instant::now(), served.clone()));
                served
            }
        };
        if discovery.is_used {
            self.watched.send_if_modified(|watched| {
                let is_modified = *watched != served;
                watched.clone_from(&served);
                is_modified
            });
        }
        Ok(served)
    }
}

impl DiscoveredKinds {
    fn cached(&self) -> Option<&ServedGatewayApi> {
        let (at, served) = self.last.as_ref()?;
        let cache_time = if served.is_complete() {
            COMPLETE_CACHE_TIME
        } else {
            INCOMPLETE_CACHE_TIME
        };
        (at.elapsed() < cache_time).then_some(served)
    }
}

async fn discover(client: &Client) -> Result<ServedGatewayApi, CallError> {
    let mut served = ServedGatewayApi::default();
    let lists = GatewayVersion::ALL.map(|version| kinds(client, version));
    let lists = futures::future::try_join_all(lists).await?;
    for (version, kinds) in GatewayVersion::ALL.into_iter().zip(lists) {
        for kind in kinds {
            served.insert(kind, version);
        }
    }
    Ok(served)
}

/// Returns the kinds that can be written in a version; none when the version is not served.
async fn kinds(client: &Client, version: GatewayVersion) -> Result<Vec<GatewayKind>, CallError> {
    let path = format!("{GROUP}/{}", version.name());
    let listed = client.list_api_group_resources(&path).await;
    let on = CallError::on("get", "API resources", &path);
    let resources = match listed.map_err(on) {
        Ok(list) => list.resources,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    // A definition that is being deleted still lists its kind, without the verbs that write.
    let is_written = |resource: &APIResource| resource.verbs.iter().any(|verb| verb == "patch");
    let is_served = |kind: &GatewayKind| {
        let mut resources = resources.iter();
        resources.any(|it| it.name == kind.plural() && is_written(it))
    };
    Ok(GatewayKind::ALL.into_iter().filter(is_served).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    fn cluster(name: &str, gateway: bool) -> LiveCluster {
        let parents = json!({"parentRefs": [{"name": "public"}]});
        let spec = if gateway {
            json!({"gateway": parents})
        } else {
            json!({})
        };
        LiveCluster::new(name, serde_json::from_value(spec).unwrap())
    }

    fn version(served: &ServedGatewayApi, kind: GatewayKind) -> Option<&'static str> {
        Some(served.get(kind)?.version.name())
    }

    #[tokio::test]
    async fn each_kind_is_found_in_its_preferred_version() {
        let (client, api) = FakeApi::start();
        api.serve_gateway_api("v1", &["gateways", "httproutes", "grpcroutes"]);
        api.serve_gateway_api("v1beta1", &["gateways", "httproutes"]);
        api.serve_gateway_api("v1alpha3", &["tlsroutes"]);
        api.serve_gateway_api("v1alpha2", &["tlsroutes", "tcproutes"]);
        let gateway_api = GatewayApi::default();
        let served = gateway_api.served(&client, &cluster("demo", true)).await;
        let served = served.unwrap();
        let versions = GatewayKind::ALL.map(|kind| version(&served, kind).unwrap());
        assert_eq!(versions, ["v1", "v1", "v1alpha3", "v1alpha2"]);
    }

    #[tokio::test]
    async fn kind_whose_definition_is_being_deleted_is_not_served() {
        let (client, api) = FakeApi::start();
        api.serve_gateway_api("v1", &["gateways", "httproutes"]);
        api.delete_gateway_kind("httproutes");
        let gateway_api = GatewayApi::default();
        let served = gateway_api.served(&client, &cluster("demo", true)).await;
        let served = served.unwrap();
        assert_eq!(version(&served, GatewayKind::Gateway), Some("v1"));
        assert_eq!(version(&served, GatewayKind::HttpRoute), None);
    }

    #[tokio::test(start_paused = true)]
    async fn missing_kinds_are_looked_for_every_30_seconds_and_found_ones_every_five_minutes() {
        let (client, api) = FakeApi::start();
        let gateway_api = GatewayApi::default();
        let demo = cluster("demo", true);
        let mut watched = gateway_api.subscribe();
        for _ in 0..3 {
            let served = gateway_api.served(&client, &demo).await.unwrap();
            assert_eq!(served, ServedGatewayApi::default());
            assert!(!gateway_api.have_changed(&client).await);
        }
        assert_eq!(api.requests().len(), GatewayVersion::ALL.len());
        let all = ["gateways", "httproutes", "tlsroutes", "tcproutes"];
        api.serve_gateway_api("v1", &all);
        assert!(!gateway_api.have_changed(&client).await);
        tokio::time::advance(INCOMPLETE_CACHE_TIME).await;
        assert!(gateway_api.have_changed(&client).await);
        assert!(!gateway_api.have_changed(&client).await);
        assert!(watched.has_changed().unwrap());
        assert_eq!(watched.borrow_and_update().routes().len(), 3);
        api.requests();
        tokio::time::advance(INCOMPLETE_CACHE_TIME).await;
        assert!(!gateway_api.have_changed(&client).await);
        assert!(api.requests().is_empty());
        api.serve_gateway_api("v1", &[]);
        tokio::time::advance(COMPLETE_CACHE_TIME).await;
        assert!(gateway_api.have_changed(&client).await);
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_without_routes_causes_no_request() {
        let (client, api) = FakeApi::start();
        let gateway_api = GatewayApi::default();
        let plain = cluster("plain", false);
        gateway_api.served(&client, &plain).await.unwrap();
        gateway_api.set_without_routes(&plain);
        api.requests();
        tokio::time::advance(INCOMPLETE_CACHE_TIME).await;
        gateway_api.served(&client, &plain).await.unwrap();
        assert!(!gateway_api.have_changed(&client).await);
        assert!(api.requests().is_empty());
    }
}
