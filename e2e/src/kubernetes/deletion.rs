//! A LiveCluster is deleted in each of the ways that Kubernetes has, and created again immediately.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::{Namespace, STREAM};
use crate::wait::{DEADLINE, eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let small = json!({"edges": {"replicas": 1}});
    for cascade in ["background", "foreground"] {
        namespace.say(format_args!("deleted with --cascade={cascade}"));
        namespace.apply_ready("demo", small.clone()).await?;
        let made = namespace.kubectl(CHILDREN).await?;
        let kinds = ["deployment", "pod/", "service/", "endpointslice"];
        ensure!(kinds.iter().all(|it| made.contains(it)), "only {made}");
        let limit = DEADLINE.as_secs();
        let line = format!("delete lc/demo --cascade={cascade} --timeout={limit}s");
        namespace.kubectl(&line).await?;
        if cascade == "foreground" {
            let pods = namespace.kubectl(PODS).await?;
            ensure!(pods.is_empty(), "the LiveCluster is deleted before {pods}");
        }
        eventually("nothing is left", DEADLINE, || async {
            let left = namespace.kubectl(CHILDREN).await?;
            ensure!(left.is_empty(), "left: {}", left.replace('\n', " "));
            Ok(())
        })
        .await?;
    }

    namespace.say("deleted and created again immediately");
    let old = namespace.apply_ready("demo", small.clone()).await?;
    namespace.kubectl("delete lc/demo --wait=false").await?;
    let expected = "a new LiveCluster of that name";
    let new = eventually(expected, DEADLINE, || async {
        let new = namespace.apply("demo", small.clone()).await?;
        ensure!(new.uid() != old.uid(), "the old one is still there");
        Ok(new)
    })
    .await?;
    namespace.ready("demo").await?;
    for name in ["demo-origin", "demo-edge"] {
        let deployment: Deployment = namespace.get(name).await?;
        let owners = deployment.owner_references();
        let owned = owners.len() == 1 && Some(&owners[0].uid) == new.metadata.uid.as_ref();
        ensure!(
            owned,
            "{name} belongs to {owners:?}, not to the new LiveCluster"
        );
    }

    namespace.say("deleted with --cascade=orphan: the Pods and their streams stay");
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &origin, &edge).await?;
    namespace.kubectl("delete lc/demo --cascade=orphan").await?;
    holds("the stream goes on", Duration::from_secs(10), || async {
        stream.assert_connected()?;
        let left: Deployment = namespace.get("demo-edge").await?;
        let owners = left.owner_references();
        ensure!(
            owners.is_empty(),
            "Deployment demo-edge has owners: {owners:?}"
        );
        Ok(())
    })
    .await
}

const CHILDREN: &str = "get deployments,replicasets,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies,endpointslices \
     -l app.kubernetes.io/instance=demo -o name";

const PODS: &str = "get pods -l app.kubernetes.io/instance=demo -o name";
