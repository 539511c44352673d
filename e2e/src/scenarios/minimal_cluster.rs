//! The least that a user can write: what it becomes, and what `kubectl get lc` shows of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::discovery::{Discovery, Scope, verbs};

use crate::cluster::{Stage, eventually};

/// How long the numbers of streams and viewers may take.
const COUNTED: Duration = Duration::from_secs(30);

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage.kubectl_apply(MANIFEST).await?;
    stage
        .kubectl(&["wait", "--for=condition=Ready", "lc/demo", "--timeout=120s"])
        .await?;
    let cluster = stage.ready("demo").await?;
    let owner = cluster.metadata.uid.as_deref().context("no UID")?;

    let found = owned(&stage, owner).await?;
    let expected: BTreeSet<String> = EXPECTED.iter().map(ToString::to_string).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let unexpected: Vec<_> = found.difference(&expected).collect();
    ensure!(
        missing.is_empty() && unexpected.is_empty(),
        "objects of the LiveCluster: expected but missing {missing:?}, there but not expected {unexpected:?}"
    );

    // The nodes are asked for their numbers every few seconds, from when they are there.
    eventually(
        "kubectl get lc shows demo True 1 2 0 0 AGE",
        COUNTED,
        || async {
            let shown = stage
                .kubectl(&["get", "lc", "demo", "--no-headers"])
                .await?;
            let columns: Vec<&str> = shown.split_whitespace().collect();
            ensure!(
                matches!(
                    columns.as_slice(),
                    ["demo", "True", "1", "2", "0", "0", _age]
                ),
                "{shown}"
            );
            Ok(())
        },
    )
    .await
}

/// Everything in the namespace whose controller is the LiveCluster, as `Kind/name`.
async fn owned(stage: &Stage, owner: &str) -> anyhow::Result<BTreeSet<String>> {
    let client = stage.cluster.client.clone();
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut found = BTreeSet::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope != Scope::Namespaced
                || !capabilities.supports_operation(verbs::LIST)
            {
                continue;
            }
            let api = kube::Api::<DynamicObject>::namespaced_with(
                client.clone(),
                &stage.namespace,
                &resource,
            );
            for object in api.list(&Default::default()).await? {
                if object
                    .owner_references()
                    .iter()
                    .any(|it| controls(it, owner))
                {
                    found.insert(format!("{}/{}", resource.kind, object.name_any()));
                }
            }
        }
    }
    Ok(found)
}

fn controls(reference: &OwnerReference, owner: &str) -> bool {
    reference.uid == owner && reference.controller == Some(true)
}

const MANIFEST: &str = r"
apiVersion: livecluster.dev/v1alpha1
kind: LiveCluster
metadata: {name: demo}
spec: {}
";

const EXPECTED: &[&str] = &[
    "ConfigMap/demo-edge-config",
    "ConfigMap/demo-origin-config",
    "Deployment/demo-edge",
    "Deployment/demo-origin",
    "NetworkPolicy/demo-nodes",
    "PodDisruptionBudget/demo-edge",
    "PodDisruptionBudget/demo-origin",
    "Service/demo-edge",
    "Service/demo-origin",
    "Service/demo-origin-headless",
    "ServiceAccount/demo-media-node",
];
