//! Two operators of one class watch the same namespace: the first one reconciles its LiveClusters, and the second one, which would
//! change their Pods, says so and leaves them alone. With a class of its own it gets the LiveClusters of that class.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{Namespace, Release};
use crate::wait::{eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let spec = json!({"edges": {"replicas": 1}});
    namespace.apply_ready("demo", spec).await?;
    let second = Release {
        name: "second-livecluster".to_owned(),
        namespace: namespace.name.clone(),
        ..namespace.cluster.release.clone()
    };
    let result = async {
        beside(&namespace, &second).await?;
        with_a_class(&namespace, &second).await
    };
    let result = result.await;
    second.helm("uninstall second-livecluster --wait").await?;
    result
}

async fn beside(namespace: &Namespace, second: &Release) -> Result<()> {
    namespace.say("a second operator, whose default image is another one");
    let another = [
        "mediaNode.image.tag=another",
        "mediaNode.rollDefaultImage=true",
    ];
    install(namespace, second, &another).await?;
    let line = "get events --field-selector reason=OtherOperator -o jsonpath={.items[*].message}";
    eventually("an event of the second operator", LIMIT, || async {
        let notes = namespace.kubectl(line).await?;
        let both = [second, &namespace.cluster.release];
        let both = both.map(|release| format!("{}/{}", release.namespace, release.deployment()));
        let named = both.iter().all(|name| notes.contains(name));
        ensure!(named, "expected both of {both:?}, seen {notes:?}");
        Ok(())
    })
    .await?;
    let metrics = metrics(namespace).await?;
    let foreign = format!(
        r#"live_cluster_foreign{{name="demo",namespace="{}"}} 1"#,
        namespace.name
    );
    ensure!(metrics.contains(&foreign), "no {foreign} in {metrics}");

    namespace.say("the first one carries out an edit, and nothing else changes");
    namespace.assert_operator_works("demo", "first").await?;
    let before = generations(namespace).await?;
    let span = Duration::from_secs(5);
    holds("nothing changes", span, || async {
        let now = generations(namespace).await?;
        ensure!(now == before, "{before:?} became {now:?}");
        Ok(())
    })
    .await
}

async fn with_a_class(namespace: &Namespace, second: &Release) -> Result<()> {
    namespace.say("the class of the LiveCluster becomes that of the second one");
    install(namespace, second, &["operatorClass=blue"]).await?;
    let blue = json!({"operatorClass": "blue"});
    namespace.edit("demo", blue).await?;
    let expected = "the second operator in the status";
    let handed_over = namespace.until_status("demo", expected, LIMIT, |status| {
        let operator = status.operator.as_ref();
        operator.is_some_and(|operator| operator.namespace == namespace.name)
    });
    handed_over.await?;
    namespace.assert_operator_works("demo", "second").await
}

/// Installs the second operator, which watches this namespace only, or changes its values.
async fn install(namespace: &Namespace, second: &Release, values: &[&str]) -> Result<()> {
    let watched = format!("watchNamespaces={{{}}}", namespace.name);
    let own = ["crds.install=false", "replicas=1", &watched];
    second
        .install(&[own.as_slice(), values].concat())
        .await
        .map(drop)
}

/// Returns the metrics of the second operator.
async fn metrics(namespace: &Namespace) -> Result<String> {
    let labels = ListParams::default().labels("app.kubernetes.io/instance=second-livecluster");
    let pods = namespace.api::<Pod>().list(&labels).await?;
    let pod = pods.items.first().context("no second operator")?;
    let (namespace_name, pod) = (&namespace.name, pod.name_any());
    let line =
        format!("get --raw /api/v1/namespaces/{namespace_name}/pods/{pod}:8080/proxy/metrics");
    namespace.kubectl(&line).await
}

/// Returns how often the specs of the LiveCluster and its Deployments have changed.
async fn generations(namespace: &Namespace) -> Result<[Option<i64>; 3]> {
    let cluster: LiveCluster = namespace.get("demo").await?;
    let origins: Deployment = namespace.get("demo-origin").await?;
    let edges: Deployment = namespace.get("demo-edge").await?;
    Ok([
        cluster.metadata.generation,
        origins.metadata.generation,
        edges.metadata.generation,
    ])
}

const LIMIT: Duration = Duration::from_secs(60);
