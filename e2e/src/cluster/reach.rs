//! How this host reaches Pods: a NodePort Service of the scenario's own, on the front node.
//!
//! It works for any LiveCluster, whatever the type of its own Services, and for a single Pod as well as for a role.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Namespace;
use crate::wait::{DEADLINE, eventually};

/// Where a role or a Pod is reached from this host.
#[derive(Clone, Debug)]
pub struct Reach {
    /// `ADDRESS:PORT` of RTMP.
    pub rtmp: String,
    /// `ADDRESS:PORT` of HTTP-FLV.
    pub http: String,
    /// `ADDRESS:PORT` of RTMP by TLS, if the Service has it.
    pub rtmps: Option<String>,
    /// `ADDRESS:PORT` of HTTP-FLV by TLS, if the Service has it.
    pub https: Option<String>,
}

impl Reach {
    /// The RTMP URL of a stream.
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// The HTTP-FLV URL of a stream.
    pub fn http(&self, stream: &str) -> String {
        format!("http://{}/{stream}.flv", self.http)
    }

    /// The URL of a stream by RTMPS, if there is any.
    pub fn rtmps(&self, stream: &str) -> Option<String> {
        let address = self.rtmps.as_ref()?;
        Some(format!("rtmps://{address}/{stream}"))
    }

    /// The URL of a stream by HTTPS, if there is any.
    pub fn https(&self, stream: &str) -> Option<String> {
        let address = self.https.as_ref()?;
        Some(format!("https://{address}/{stream}.flv"))
    }
}

impl Namespace {
    /// Makes a role of a LiveCluster reachable from this host, all of its Pods behind one address.
    pub async fn reach_role(&self, cluster: &str, role: &str) -> Result<Reach> {
        let name = format!("reach-{cluster}-{role}");
        let pods = self.pods(cluster, role).await?;
        let ports = service_ports(pods.first());
        self.expose(&name, labels(cluster, role), ports).await
    }

    /// Makes one Pod reachable from this host.
    pub async fn reach_pod(&self, pod: &Pod) -> Result<Reach> {
        let name = pod.name_any();
        let label = Patch::Merge(json!({"metadata": {"labels": {REACHED: name}}}));
        let parameters = PatchParams::default();
        self.api::<Pod>().patch(&name, &parameters, &label).await?;
        let selector = BTreeMap::from([(REACHED.to_owned(), name.clone())]);
        let ports = service_ports(Some(pod));
        self.expose(&format!("pod-{name}"), selector, ports).await
    }

    /// Makes each Pod of a LiveCluster's role reachable from this host, in the order of [`Namespace::pods`].
    pub async fn reach_pods(&self, cluster: &str, role: &str) -> Result<Vec<Reach>> {
        let mut reached = Vec::new();
        for pod in self.pods(cluster, role).await? {
            reached.push(self.reach_pod(&pod).await?);
        }
        Ok(reached)
    }

    /// Returns where a Service with node ports is reached from this host.
    pub async fn reach_service(&self, name: &str) -> Result<Reach> {
        self.node_ports(&self.get(name).await?)
    }

    /// Waits until so many Pods take the new connections of a Service.
    pub async fn until_addresses(&self, service: &str, count: usize) -> Result<()> {
        let line = format!(
            "get endpointslices -l kubernetes.io/service-name={service} -o jsonpath={{.items[*].endpoints[*].addresses[*]}}"
        );
        let expected = format!("{count} addresses of Service {service}");
        eventually(&expected, DEADLINE, || async {
            let addresses = self.kubectl(&line).await?;
            let seen = addresses.split_whitespace().count();
            ensure!(seen == count, "{addresses}");
            Ok(())
        })
        .await
    }

    async fn expose(
        &self,
        name: &str,
        selector: BTreeMap<String, String>,
        ports: Vec<Value>,
    ) -> Result<Reach> {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "type": "NodePort",
                "selector": selector,
                "ports": ports,
            },
        }))?;
        let services: Api<Service> = self.api();
        let service = match services.create(&PostParams::default(), &service).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.get(name).await?,
            created => created.with_context(|| format!("expose {name}"))?,
        };
        let reach = self.node_ports(&service)?;
        // Until the nodes have programmed the new Service, they refuse every connection.
        for address in [&reach.rtmp, &reach.http] {
            let expected = format!("{address} accepts connections");
            let connect = || connects(address);
            eventually(&expected, DEADLINE, connect).await?;
        }
        Ok(reach)
    }

    fn node_ports(&self, service: &Service) -> Result<Reach> {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref());
        let address = |name: &str| {
            let mut ports = ports.unwrap_or_default().iter();
            let port = ports.find(|port| port.name.as_deref() == Some(name));
            let port = port.and_then(|port| port.node_port);
            let service = service.name_any();
            let port = port.with_context(|| format!("Service {service} has no node port {name}"));
            anyhow::Ok(format!("{}:{}", self.cluster.front().address, port?))
        };
        Ok(Reach {
            rtmp: address("rtmp")?,
            http: address("http")?,
            rtmps: address("rtmps").ok(),
            https: address("https").ok(),
        })
    }
}

/// Connects to an address, which may lose what is sent to it for as long as nothing forwards it.
pub async fn connects(address: &str) -> Result<()> {
    let connected = timeout(Duration::from_secs(5), TcpStream::connect(address));
    let connected = connected.await.context("no answer to a connection")?;
    Ok(connected.map(drop)?)
}

/// The ports of a Service for clients: those with TLS, if the Pod has them.
fn service_ports(pod: Option<&Pod>) -> Vec<Value> {
    let containers = pod.and_then(|pod| pod.spec.as_ref()).into_iter();
    let mut open = containers
        .flat_map(|spec| &spec.containers)
        .flat_map(|it| it.ports.iter().flatten());
    let has_tls = open.any(|port| port.name.as_deref() == Some("https"));
    let mut ports = vec![("rtmp", 1935), ("http", 8080)];
    if has_tls {
        ports.extend([("rtmps", 1936), ("https", 8443)]);
    }
    let ports = ports.into_iter();
    ports
        .map(|(name, port)| json!({"name": name, "port": port}))
        .collect()
}

/// The labels of a role's Pods.
pub(super) fn labels(cluster: &str, role: &str) -> BTreeMap<String, String> {
    [
        ("name", "media-node"),
        ("instance", cluster),
        ("component", role),
    ]
    .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
    .into()
}

/// The label by which a scenario's Service selects one Pod.
const REACHED: &str = "e2e.livecluster.dev/pod";
