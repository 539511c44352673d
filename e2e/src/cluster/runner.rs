//! Runs scenarios and tells how they went.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::scenario::{self, Scenario, choose, names};
use super::{Cluster, Stage, command, diagnosis, eventually};
use crate::retry::once_more;

/// What to run, and on what.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The scenarios to run; all of them when none is named.
    scenarios: Vec<String>,
    /// Say what there is to prove.
    #[arg(long)]
    list: bool,
    /// Try scenarios that failed once more, each by itself.
    #[arg(long)]
    retry: bool,
    /// Leave the namespaces as they are at the end.
    #[arg(long)]
    keep: bool,
    /// How many scenarios run beside one another, of those that disturb nobody.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// Where the story of a failure goes.
    #[arg(long, default_value = "e2e/out")]
    pub(super) out: PathBuf,
    /// The kind cluster's name, if this is one that may be broken.
    #[arg(long, env = "LIVECLUSTER_KIND")]
    pub(super) kind: Option<String>,
    /// The operator's image; the chart's when absent.
    #[arg(long, env = "LIVECLUSTER_OPERATOR_IMAGE")]
    pub(super) operator_image: Option<String>,
    /// The media nodes' image; the chart's when absent.
    #[arg(long, env = "LIVECLUSTER_MEDIA_NODE_IMAGE")]
    pub(super) media_node_image: Option<String>,
}

/// Runs the scenarios that `options` name.
///
/// # Errors
/// When one of them fails, or is not known.
pub async fn run(options: Options) -> anyhow::Result<()> {
    if options.list {
        scenario::list();
        return Ok(());
    }
    let (chosen, skipped) = choose(&options.scenarios, options.kind.is_some())?;
    let began = Instant::now();
    let cluster = Arc::new(Cluster::connect(&options).await?);
    install(&cluster).await?;
    let ran = chosen.len();
    let (alone, beside): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|it| it.alone);
    let once = |scenario: Scenario| {
        let cluster = Arc::clone(&cluster);
        async move { perform(scenario, cluster, began, options.keep).await }
    };
    let mut failed: Vec<Scenario> = stream::iter(beside)
        .map(&once)
        .buffer_unordered(options.jobs.max(1))
        .filter_map(std::future::ready)
        .collect()
        .await;
    for scenario in alone {
        failed.extend(once(scenario).await);
    }
    if options.retry {
        for scenario in std::mem::take(&mut failed) {
            once_more(&options.out, scenario.name, began.elapsed().as_secs())?;
            failed.extend(once(scenario).await);
        }
    }
    for (scenario, why) in &skipped {
        println!(
            "{:4}s  {}: SKIPPED: needs a kind cluster of its own, as {why}",
            began.elapsed().as_secs(),
            scenario.name
        );
    }
    let left_out = scenario::left_out(&skipped);
    if !failed.is_empty() {
        bail!(
            "{} of {ran} failed: {}{left_out}",
            failed.len(),
            names(&failed)
        );
    }
    println!(
        "{:4}s  {ran} scenarios passed{left_out}",
        began.elapsed().as_secs()
    );
    Ok(())
}

async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    println!("{:4}s  helm upgrade --install {}", 0, cluster.release.name);
    cluster.release.install(&[]).await?;
    // The API server knows the resource a moment before it tells everybody.
    eventually(
        "kubectl knows LiveClusters",
        Duration::from_secs(60),
        || async {
            command(&["kubectl", "get", "lc", "-A"], "")
                .await?
                .success()
        },
    )
    .await
    .map(drop)
}

/// Runs one scenario in a namespace of its own; the scenario if it failed.
async fn perform(
    scenario: Scenario,
    cluster: Arc<Cluster>,
    began: Instant,
    keep: bool,
) -> Option<Scenario> {
    let stage = Stage {
        namespace: format!("e2e-{}", scenario.name),
        scenario: scenario.name,
        cluster,
        began,
    };
    stage.say(format!("begins: {}", scenario.proves));
    // What the last run left would only mislead.
    let _absent = tokio::fs::remove_dir_all(stage.cluster.out.join(scenario.name)).await;
    let start = Instant::now();
    let result = attempt(scenario, &stage).await;
    let took = start.elapsed();
    let failed = if let Err(error) = result {
        let (folder, tail) = diagnosis::diagnose(&stage, &error, took).await;
        stage.say(format!("FAILED after {} s: {error:#}", took.as_secs()));
        println!("{tail}--- all of it is in {}", folder.display());
        Some(scenario)
    } else {
        stage.say(format!("PASSED in {} s", took.as_secs()));
        None
    };
    // Those that failed, too: what stays would be a burden on the scenarios that follow.
    if !keep && let Err(error) = leave(&stage).await {
        stage.say(format!("cannot clean up: {error:#}"));
    }
    failed
}

async fn attempt(scenario: Scenario, stage: &Stage) -> anyhow::Result<()> {
    enter(stage).await?;
    // A panic of a scenario is its failure and nobody else's.
    match tokio::time::timeout(SCENARIO_LIMIT, tokio::spawn((scenario.run)(stage.clone()))).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => bail!("the scenario itself is broken: {panicked}"),
        Err(_) => bail!("not done after {SCENARIO_LIMIT:?}"),
    }
}

/// Makes the scenario's namespace; what an earlier run left in it goes first.
async fn enter(stage: &Stage) -> anyhow::Result<()> {
    let api = namespaces(stage);
    if api.get_opt(&stage.namespace).await?.is_some() {
        leave(stage).await?;
    }
    // What runs in it is held to the strictest of Kubernetes' Pod Security Standards, in every scenario.
    let namespace: Namespace = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": stage.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted", "livecluster.dev/e2e": "true"},
        },
    }))?;
    api.create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Takes the namespace away. Its pods go first: Kubernetes looks at a namespace with pods in it again only after half of the
/// time that they may take to leave.
async fn leave(stage: &Stage) -> anyhow::Result<()> {
    let api = namespaces(stage);
    stage
        .kubectl(&["delete", "lc,deployments", "--all", "--wait=false"])
        .await?;
    eventually("the pods are gone", Duration::from_secs(60), || async {
        let (pods, all) = (stage.api::<Pod>(), ListParams::default());
        pods.delete_collection(&DeleteParams::default().grace_period(0), &all)
            .await?;
        let left = pods.list(&all).await?.items.len();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    api.delete(&stage.namespace, &DeleteParams::background())
        .await?;
    let gone = format!("the namespace {} is gone", stage.namespace);
    eventually(&gone, Duration::from_secs(400), || async {
        match api.get_opt(&stage.namespace).await? {
            None => Ok(()),
            Some(left) => bail!("{:?}", left.status.and_then(|status| status.conditions)),
        }
    })
    .await
}

fn namespaces(stage: &Stage) -> Api<Namespace> {
    Api::all(stage.cluster.client.clone())
}

/// Longer than any scenario takes.
const SCENARIO_LIMIT: Duration = Duration::from_secs(900);
