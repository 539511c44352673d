//! The API server itself refuses an invalid spec, with a message that names the field.

use anyhow::{Context, Result, ensure};

use crate::cluster::Namespace;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    for (spec, fields) in REFUSED {
        assert_refused(&namespace, "demo", spec, fields).await?;
    }
    let long = "a-name-that-is-much-too-long-for-a-live-cluster";
    let named = ["metadata.name", "at most 38 characters"];
    assert_refused(&namespace, long, "{}", &named).await?;
    let stored = namespace.kubectl("get lc -o name").await?;
    ensure!(stored.is_empty(), "stored: {stored}");
    Ok(())
}

async fn assert_refused(
    namespace: &Namespace,
    name: &str,
    spec: &str,
    fields: &[&str],
) -> Result<()> {
    let manifest = format!(
        "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    );
    let line = "apply --server-side --validate=strict -f -";
    let applied = namespace.try_kubectl(line, &manifest).await?;
    let message = applied.failure().with_context(|| spec.to_owned())?;
    for field in fields {
        let named = message.contains(field);
        ensure!(
            named,
            "{spec}: expected a refusal that names {field}, seen {message}"
        );
    }
    Ok(())
}

/// Specs, and what their refusals name.
#[rustfmt::skip]
const REFUSED: [(&str, &[&str]); 12] = [
    ("{edges: {replicas: -1}}", &["spec.edges.replicas"]),
    ("{origins: {replicas: 1000}}", &["spec.origins.replicas"]),
    ("{edges: {replicas: two}}", &["spec.edges.replicas"]),
    ("{edge: {replicas: 2}}", &["spec.edge"]),
    ("{stream: {continuitySeconds: 100000}}", &["spec.stream.continuitySeconds"]),
    ("{edges: {podLabels: {city: Köln}}}", &["spec.edges.podLabels.city"]),
    ("{logs: {level: LOUD}}", &["spec.logs.level"]),
    ("{edges: {service: {type: Ingress}}}", &["spec.edges.service.type"]),
    ("{edges: {service: {nodePorts: {http: 30080}}}}", &["nodePorts", "NodePort"]),
    ("{edges: {service: {externalTrafficPolicy: Local}}}", &["externalTrafficPolicy", "NodePort"]),
    ("{edges: {service: {ports: {rtmp: 8080, http: 8080}}}}", &["ports.rtmp", "ports.http"]),
    ("{edges: {service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}}}",
        &["loadBalancerSourceRanges", "LoadBalancer"]),
];
