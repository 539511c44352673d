//! What the chart's ServiceMonitor and PodMonitor select, as the Prometheus operator reads them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::cluster::Namespace;

/// A Pod that a monitor selects.
#[derive(Debug)]
pub(super) struct Monitored {
    /// The kind of the monitor.
    pub(super) monitor: &'static str,
    pub(super) namespace: String,
    pub(super) pod: String,
    /// Port of its metrics.
    pub(super) port: u64,
    pub(super) path: String,
    /// Whether labels of its metrics win over those of the target.
    pub(super) honor_labels: bool,
    /// Labels of the target.
    pub(super) labels: BTreeMap<String, String>,
}

/// Returns the Pods of the operator, and those of the LiveClusters in a namespace.
pub(super) async fn monitored(namespace: &Namespace) -> Result<Vec<Monitored>> {
    let objects = rendered(namespace).await?;
    let of_kind = |kind: &str| {
        let mut found = objects.iter();
        let found = found.find(|it| it["kind"] == kind);
        found.with_context(|| format!("the chart renders no {kind}"))
    };
    let (service, service_monitor) = (of_kind("Service")?, of_kind("ServiceMonitor")?);
    let selects = contains(
        &service["metadata"]["labels"],
        &service_monitor["spec"]["selector"]["matchLabels"],
    );
    ensure!(selects, "the ServiceMonitor does not select the Service");
    let endpoint = &service_monitor["spec"]["endpoints"][0];
    let port = array(&service["spec"]["ports"]).find(|port| port["name"] == endpoint["port"]);
    let port = &port.context("the Service lacks the port of the ServiceMonitor")?["targetPort"];
    let system = namespace.other(&namespace.cluster.release.namespace);
    let operators = selected(&system, &service["spec"]["selector"]).await?;
    let mut monitored = targets("ServiceMonitor", &operators, port, endpoint, &Value::Null)?;

    let spec = &of_kind("PodMonitor")?["spec"];
    let nodes = selected(namespace, &spec["selector"]["matchLabels"]).await?;
    let endpoint = &spec["podMetricsEndpoints"][0];
    let labels = &spec["podTargetLabels"];
    monitored.extend(targets(
        "PodMonitor",
        &nodes,
        &endpoint["port"],
        endpoint,
        labels,
    )?);
    Ok(monitored)
}

/// Returns the objects for Prometheus, as they would be in the operator's release.
async fn rendered(namespace: &Namespace) -> Result<Vec<Value>> {
    let release = &namespace.cluster.release;
    let (name, chart) = (&release.name, &release.chart);
    let line = format!(
        "template {name} {chart} --kube-version 1.33 --show-only templates/monitoring.yaml \
         --set metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true"
    );
    let text = release.helm(&line).await?;
    let documents = serde_yaml::Deserializer::from_str(&text);
    let objects: Result<Vec<Value>, _> = documents.map(Value::deserialize).collect();
    objects.context("what the chart renders")
}

/// Returns the ready Pods with these labels.
async fn selected(namespace: &Namespace, labels: &Value) -> Result<Vec<Pod>> {
    let labels: BTreeMap<String, String> = serde_json::from_value(labels.clone())?;
    let parameters = ListParams::default().labels_from(&labels.into_iter().collect());
    let mut pods = namespace.api::<Pod>().list(&parameters).await?.items;
    pods.retain(crate::cluster::is_ready);
    ensure!(!pods.is_empty(), "no Pods in {}", namespace.name);
    Ok(pods)
}

/// Returns the targets of a monitor's endpoint: Pods with a container port of this name.
fn targets(
    monitor: &'static str,
    pods: &[Pod],
    port: &Value,
    endpoint: &Value,
    pod_labels: &Value,
) -> Result<Vec<Monitored>> {
    let target = |pod: &Pod| {
        let mut labels = BTreeMap::from([("pod".to_owned(), pod.name_any())]);
        labels.insert("namespace".to_owned(), pod.namespace().unwrap_or_default());
        for label in array(pod_labels).filter_map(Value::as_str) {
            let value = pod.labels().get(label).cloned().unwrap_or_default();
            labels.insert(label.replace(['.', '/'], "_"), value);
        }
        Ok(Monitored {
            monitor,
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            port: container_port(pod, port)
                .with_context(|| format!("{} has no port {port}", pod.name_any()))?,
            path: endpoint["path"].as_str().unwrap_or("/metrics").to_owned(),
            honor_labels: endpoint["honorLabels"] == true,
            labels,
        })
    };
    pods.iter().map(target).collect()
}

fn container_port(pod: &Pod, name: &Value) -> Option<u64> {
    let pod = json!(pod);
    let containers = array(&pod["spec"]["containers"]);
    let mut ports = containers.flat_map(|container| array(&container["ports"]));
    ports.find(|port| port["name"] == *name)?["containerPort"].as_u64()
}

/// Whether labels contain all of a selector's.
fn contains(labels: &Value, selector: &Value) -> bool {
    let selector = selector.as_object();
    selector.is_some_and(|all| all.iter().all(|(key, value)| labels[key] == *value))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
