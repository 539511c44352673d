//! What cannot be is refused by the API server itself, in words that name the field.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cluster::Stage;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let node_port = json!({"edges": {"service": {"nodePorts": {"http": 30080}}}});
    let local = json!({"edges": {"service": {"externalTrafficPolicy": "Local"}}});
    let same = json!({"edges": {"service": {"ports": {"rtmp": 8080, "http": 8080}}}});
    let ranges = json!({"edges": {"service": {"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}});
    let long = "a-name-that-is-much-too-long-for-a-live-cluster";
    let refused: [(&str, Value, &[&str]); 11] = [
        (
            "demo",
            json!({"edges": {"replicas": -1}}),
            &["spec.edges.replicas"],
        ),
        (
            "demo",
            json!({"origins": {"replicas": 1000}}),
            &["spec.origins.replicas"],
        ),
        (
            "demo",
            json!({"edges": {"replicas": "two"}}),
            &["spec.edges.replicas"],
        ),
        ("demo", json!({"edge": {"replicas": 2}}), &["spec.edge"]),
        (
            "demo",
            json!({"stream": {"continuitySeconds": 100_000}}),
            &["spec.stream.continuitySeconds"],
        ),
        (
            "demo",
            json!({"edges": {"service": {"type": "Ingress"}}}),
            &["spec.edges.service.type"],
        ),
        ("demo", node_port, &["nodePorts", "NodePort"]),
        ("demo", local, &["externalTrafficPolicy", "NodePort"]),
        ("demo", same, &["ports.rtmp", "ports.http"]),
        (
            "demo",
            ranges,
            &["loadBalancerSourceRanges", "LoadBalancer"],
        ),
        (long, json!({}), &["name"]),
    ];
    for (name, spec, words) in refused {
        let manifest = json!({
            "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
            "metadata": {"name": name}, "spec": spec,
        });
        let line = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        let said = stage
            .try_kubectl(&line, &manifest.to_string())
            .await?
            .failure()
            .with_context(|| manifest.to_string())?;
        for word in words {
            ensure!(
                said.contains(word),
                "{manifest}: expected a refusal that names {word}, seen {said}"
            );
        }
    }
    let kept = stage.kubectl(&["get", "lc", "-o", "name"]).await?;
    ensure!(
        kept.is_empty(),
        "expected that nothing was stored, seen {kept}"
    );
    Ok(())
}
