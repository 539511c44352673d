//! Two operators of one class watch the same namespace: the first one reconciles its LiveClusters, and the second one, which would
//! change their Pods, says so and leaves them alone. With a class of its own it gets the LiveClusters of that class. When it hangs, a
//! third one of that class takes them over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use livecluster_api::LiveCluster;
use serde_json::json;

use crate::cluster::{AuditedRequest, Namespace, Release};
use crate::wait::{DEADLINE, eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let spec = json!({"edges": {"replicas": 1}});
    namespace.apply_ready("demo", spec).await?;
    let [second, third] = ["second-livecluster", "third-livecluster"].map(|name| Release {
        name: name.to_owned(),
        namespace: namespace.name.clone(),
        ..namespace.cluster.release.clone()
    });
    for release in [&second, &third] {
        let release = release.clone();
        namespace.repaired_by(move |_| uninstall(release.clone()));
    }
    beside(&namespace, &second).await?;
    with_a_class(&namespace, &second).await?;
    if namespace.may_break("the second operator hangs") {
        takes_over(&namespace, &second, &third).await?;
    }
    Ok(())
}

async fn uninstall(release: Release) -> Result<()> {
    let line = format!("uninstall {} --ignore-not-found --wait", release.name);
    release.helm(&line).await.map(drop)
}

async fn beside(namespace: &Namespace, second: &Release) -> Result<()> {
    namespace.say("a second operator, whose default image is another one");
    let another = [
        "mediaNode.image.tag=another",
        "mediaNode.rollDefaultImage=true",
    ];
    install(namespace, second, &another).await?;
    leaves_alone(namespace, second, &namespace.cluster.release).await?;
    let metrics = metrics(namespace, second).await?;
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
    let handed_over = namespace.until_status("demo", expected, DEADLINE, |status| {
        let operator = status.operator.as_ref();
        operator.is_some_and(|operator| operator.namespace == namespace.name)
    });
    handed_over.await?;
    namespace.assert_operator_works("demo", "second").await
}

/// Lets the second operator hang until the third one has its LiveCluster, and fails if both wrote at a time.
async fn takes_over(namespace: &Namespace, second: &Release, third: &Release) -> Result<()> {
    install(namespace, third, &["operatorClass=blue"]).await?;
    leaves_alone(namespace, third, second).await?;
    let (start, since) = (Instant::now(), Timestamp::now());
    let pod = operator(namespace, second).await?;
    namespace.signal(&pod, "STOP").await?;
    // A liveness probe would start its container again, which would go on with its Lease.
    let line = format!("scale deployment/{} --replicas=0", second.deployment());
    namespace.kubectl(&line).await?;
    let expected = "the third operator in the status";
    // A Lease must be unchanged for 25 seconds, and it is read every five.
    let taken = namespace.until_status("demo", expected, DEADLINE, |status| {
        let operator = status.operator.as_ref();
        operator.is_some_and(|operator| operator.lease == third.deployment())
    });
    taken.await?;
    namespace.say(format_args!(
        "taken over after {} s",
        start.elapsed().as_secs()
    ));
    namespace.assert_operator_works("demo", "third").await?;

    let writes = |requests: Vec<AuditedRequest>| {
        let writes = requests.into_iter().filter(|request| {
            // Each operator has a Lease, events and tokens of its own.
            let resource = request.object_ref.resource.as_str();
            request.writes()
                && request.status() < 300
                && !matches!(resource, "leases" | "events" | "serviceaccounts")
        });
        writes.map(|request| request.at()).collect::<Vec<_>>()
    };
    let by_third = writes(namespace.cluster.requests_of(third, since).await?);
    let by_second = writes(
        namespace
            .cluster
            .requests_of(second, Timestamp::MIN)
            .await?,
    );
    let first = by_third
        .first()
        .context("the third operator wrote nothing")?;
    let last = by_second
        .last()
        .context("the second operator wrote nothing")?;
    ensure!(
        last < first,
        "the second one wrote at {last}, the third one from {first} on"
    );
    Ok(())
}

/// Waits until an event says that an operator leaves the LiveCluster to another one.
async fn leaves_alone(namespace: &Namespace, operator: &Release, owner: &Release) -> Result<()> {
    let line = "get events --field-selector reason=OtherOperator -o jsonpath={.items[*].message}";
    let name = |release: &Release| format!("{}/{}", release.namespace, release.deployment());
    let both = [name(operator), name(owner)];
    eventually("an event of the other operator", DEADLINE, || async {
        let notes = namespace.kubectl(line).await?;
        let named = both.iter().all(|name| notes.contains(name));
        ensure!(named, "expected both of {both:?}, seen {notes:?}");
        Ok(())
    })
    .await
}

/// Installs an operator, which watches this namespace only, or changes its values.
async fn install(namespace: &Namespace, operator: &Release, values: &[&str]) -> Result<()> {
    let watched = format!("watchNamespaces={{{}}}", namespace.name);
    let own = ["crds.install=false", "replicas=1", &watched];
    operator
        .install(&[own.as_slice(), values].concat())
        .await
        .map(drop)
}

/// Returns the metrics of an operator.
async fn metrics(namespace: &Namespace, release: &Release) -> Result<String> {
    let pod = operator(namespace, release).await?.name_any();
    let namespace_name = &namespace.name;
    let line =
        format!("get --raw /api/v1/namespaces/{namespace_name}/pods/{pod}:8080/proxy/metrics");
    namespace.kubectl(&line).await
}

/// Returns the Pod of an operator.
async fn operator(namespace: &Namespace, release: &Release) -> Result<Pod> {
    let labels = format!("app.kubernetes.io/instance={}", release.name);
    let pods = namespace.api::<Pod>();
    let pods = pods.list(&ListParams::default().labels(&labels)).await?;
    let is_new = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    let pod = pods.items.into_iter().find(is_new);
    pod.with_context(|| format!("no Pod of {}", release.name))
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
