//! The smallest manifest: the objects that it becomes, and what `kubectl get lc` shows of it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, ResourceExt};

use crate::cluster::Namespace;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.kubectl_apply(MANIFEST).await?;
    let limit = DEADLINE.as_secs();
    let line = format!("wait --for=condition=Ready lc/demo --timeout={limit}s");
    namespace.kubectl(&line).await?;
    let cluster = namespace.ready("demo").await?;
    let owner = cluster.metadata.uid.as_deref().context("no UID")?;

    // A kind may be removed while they are listed, as others install and remove some.
    let all = || owned(&namespace, owner);
    let found = eventually("all kinds can be listed", DEADLINE, all).await?;
    let found: BTreeSet<String> = found.iter().map(|name| without_hash(name)).collect();
    let expected: BTreeSet<String> = OBJECTS.iter().map(ToString::to_string).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    let same = missing.is_empty() && more.is_empty();
    ensure!(same, "missing {missing:?}, unexpected {more:?}");

    // The operator scrapes the Pods every few seconds, once they are there.
    let columns = ["demo", "True", "1/1", "2/2", "0", "0", "0"];
    let expected = "kubectl get lc shows demo True 1/1 2/2 0 0 0 AGE";
    eventually(expected, DEADLINE, || async {
        let shown = namespace.kubectl("get lc demo --no-headers").await?;
        let words: Vec<&str> = shown.split_whitespace().collect();
        let reached = words.len() == 8 && words.starts_with(&columns);
        ensure!(reached, "{shown}");
        Ok(())
    })
    .await
}

/// Everything in the namespace whose controller is the LiveCluster, as `Kind/name`.
async fn owned(namespace: &Namespace, owner: &str) -> Result<BTreeSet<String>> {
    let client = || namespace.cluster.client.clone();
    let discovery = Discovery::new(client()).run().await?;
    let groups = discovery.groups();
    let resources = groups.flat_map(|group| group.recommended_resources());
    let listed = resources.filter(|(_, capabilities)| {
        capabilities.scope == Scope::Namespaced && capabilities.supports_operation(verbs::LIST)
    });
    let mut found = BTreeSet::new();
    for (resource, _) in listed {
        let api = Api::<DynamicObject>::namespaced_with(client(), &namespace.name, &resource);
        for object in api.list(&Default::default()).await? {
            let mut owners = object.owner_references().iter();
            if owners.any(|it| it.uid == owner && it.controller == Some(true)) {
                found.insert(format!("{}/{}", resource.kind, object.name_any()));
            }
        }
    }
    Ok(found)
}

/// The name of a ConfigMap ends with the hash of its content.
fn without_hash(name: &str) -> String {
    match name.split_once("-config-") {
        Some((start, _)) => format!("{start}-config"),
        None => name.to_owned(),
    }
}

const MANIFEST: &str = r"
apiVersion: livecluster.dev/v1alpha1
kind: LiveCluster
metadata: {name: demo}
spec: {}
";

const OBJECTS: &[&str] = &[
    "ConfigMap/demo-edge-config",
    "ConfigMap/demo-identity",
    "ConfigMap/demo-live",
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
