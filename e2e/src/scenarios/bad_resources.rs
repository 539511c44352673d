//! What cannot be is refused by the API server itself, in words that name the field.

use anyhow::{Context, ensure};

use crate::cluster::Stage;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    for (spec, words) in REFUSED {
        is_refused(&stage, "demo", spec, words).await?;
    }
    is_refused(&stage, LONG, "{}", &["name"]).await?;
    let kept = stage.kubectl(&["get", "lc", "-o", "name"]).await?;
    ensure!(
        kept.is_empty(),
        "expected that nothing was stored, seen {kept}"
    );
    Ok(())
}

async fn is_refused(stage: &Stage, name: &str, spec: &str, words: &[&str]) -> anyhow::Result<()> {
    let manifest = format!(
        "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    );
    let line = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    let finished = stage.try_kubectl(&line, &manifest).await?;
    let said = finished.failure().with_context(|| spec.to_owned())?;
    for word in words {
        ensure!(
            said.contains(word),
            "{spec}: expected a refusal that names {word}, seen {said}"
        );
    }
    Ok(())
}

/// Specs, and what their refusals name.
#[rustfmt::skip]
const REFUSED: [(&str, &[&str]); 10] = [
    ("{edges: {replicas: -1}}", &["spec.edges.replicas"]),
    ("{origins: {replicas: 1000}}", &["spec.origins.replicas"]),
    ("{edges: {replicas: two}}", &["spec.edges.replicas"]),
    ("{edge: {replicas: 2}}", &["spec.edge"]),
    ("{stream: {continuitySeconds: 100000}}", &["spec.stream.continuitySeconds"]),
    ("{edges: {service: {type: Ingress}}}", &["spec.edges.service.type"]),
    ("{edges: {service: {nodePorts: {http: 30080}}}}", &["nodePorts", "NodePort"]),
    ("{edges: {service: {externalTrafficPolicy: Local}}}", &["externalTrafficPolicy", "NodePort"]),
    ("{edges: {service: {ports: {rtmp: 8080, http: 8080}}}}", &["ports.rtmp", "ports.http"]),
    ("{edges: {service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}}}",
        &["loadBalancerSourceRanges", "LoadBalancer"]),
];

const LONG: &str = "a-name-that-is-much-too-long-for-a-live-cluster";
