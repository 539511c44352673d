//! Runs scenarios and reports their results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use futures::stream::{self, StreamExt};
use tokio::time::timeout;

use crate::cluster::{self, Cluster, Namespace, TargetCluster};
use crate::interop::INTEROP;
use crate::kubernetes::KUBERNETES;
use crate::scenario::{Order, Scenario, Steps, list, names, select};
use crate::stage::{Stage, Tools, say};

/// What to run, and on what.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Which scenarios.
    group: Group,
    /// The scenarios to run; all of the group when none is named.
    scenarios: Vec<String>,
    /// Print all scenarios.
    #[arg(long)]
    list: bool,
    /// Try scenarios that failed once more, each by itself.
    #[arg(long)]
    retry: bool,
    /// Leave the namespaces as they are at the end.
    #[arg(long)]
    keep: bool,
    /// How many scenarios run at the same time, of those that disturb no other.
    #[arg(long, default_value_t = 5)]
    jobs: usize,
    #[command(flatten)]
    tools: Tools,
    #[command(flatten)]
    target: TargetCluster,
}

/// The two groups of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Real encoders, players and browsers against `livecluster local`.
    Interop,
    /// The Kubernetes cluster that KUBECONFIG names.
    Cluster,
}

/// Runs the scenarios that `options` name. Fails when one of them fails, or more than [`FLAKY`] pass only at the second attempt.
pub async fn run(options: Options) -> Result<()> {
    let (all, kind) = match options.group {
        Group::Interop => (INTEROP, true),
        Group::Cluster => (KUBERNETES, options.target.kind.is_some()),
    };
    if options.list {
        list(all);
        return Ok(());
    }
    let (selected, skipped) = select(all, &options.scenarios, kind)?;
    let runner = Runner::prepare(&options).await?;
    for scenario in &skipped {
        let (name, why) = (scenario.name, scenario.needs_kind.unwrap_or_default());
        let line = format!("{name}: SKIPPED: needs a kind cluster of its own, as {why}");
        say(runner.start, line);
    }
    let failed = runner.run_all(&selected, options.jobs).await;
    let (failed, flaky) = if options.retry {
        runner.retry(failed).await?
    } else {
        (failed, Vec::new())
    };
    // A cluster of kind is thrown away: its namespaces need not be gone before.
    if !kind && !options.keep {
        cluster::namespaces_are_gone().await?;
    }
    for scenario in &flaky {
        println!("FLAKY {}", scenario.name);
    }
    let (count, retried) = (selected.len(), flaky.len());
    ensure!(
        failed.is_empty(),
        "{} of {count} failed: {}",
        failed.len(),
        names(&failed)
    );
    ensure!(
        retried <= FLAKY,
        "{retried} of {count} scenarios passed only at the second attempt, more than {FLAKY}"
    );
    let skipped = skipped.len();
    say(
        runner.start,
        format_args!(
            "{count} scenarios passed, {retried} at the second attempt, {skipped} skipped"
        ),
    );
    Ok(())
}

/// How many scenarios may pass only at their second attempt: they run in real time, on hosts with other load.
const FLAKY: usize = 2;

struct Runner {
    tools: Arc<Tools>,
    cluster: Option<Arc<Cluster>>,
    keep: bool,
    start: Instant,
}

impl Runner {
    async fn prepare(options: &Options) -> Result<Self> {
        let start = Instant::now();
        let cluster = match options.group {
            Group::Interop => None,
            Group::Cluster => {
                say(start, "helm upgrade --install livecluster");
                Some(Arc::new(Cluster::prepare(&options.target).await?))
            }
        };
        Ok(Self {
            tools: Arc::new(options.tools.clone()),
            cluster,
            keep: options.keep,
            start,
        })
    }

    /// Runs scenarios: those that disturb no other first, `jobs` at a time. Returns those that failed.
    async fn run_all(&self, scenarios: &[Scenario], jobs: usize) -> Vec<Scenario> {
        let beside = |it: &&Scenario| it.order == Order::Beside;
        let mut failed: Vec<Scenario> = stream::iter(scenarios.iter().filter(beside))
            .map(|scenario| self.perform(*scenario, ""))
            .buffer_unordered(jobs.max(1))
            .filter_map(std::future::ready)
            .collect()
            .await;
        for scenario in scenarios.iter().filter(|it| !beside(it)) {
            failed.extend(self.perform(*scenario, "").await);
        }
        failed
    }

    /// Runs scenarios that failed once more, each by itself. Returns those that failed again, and those that passed.
    async fn retry(&self, failed: Vec<Scenario>) -> Result<(Vec<Scenario>, Vec<Scenario>)> {
        let (mut again, mut flaky) = (Vec::new(), Vec::new());
        for scenario in failed {
            // What the first attempts have left would burden the second one.
            if self.cluster.is_some()
                && !self.keep
                && let Err(error) = cluster::namespaces_are_gone().await
            {
                say(self.start, format_args!("{error:#}"));
            }
            let folder = self.keep_first_attempt(scenario.name)?;
            say(
                self.start,
                format_args!(
                    "{}: second attempt; the first is in {folder}",
                    scenario.name
                ),
            );
            match self.perform(scenario, "-again").await {
                Some(scenario) => again.push(scenario),
                None => flaky.push(scenario),
            }
        }
        Ok((again, flaky))
    }

    /// Moves the files of a failed scenario from `out/NAME` to `out/first/NAME`.
    fn keep_first_attempt(&self, name: &str) -> Result<String> {
        let out = &self.tools.out;
        let (folder, first) = (out.join(name), out.join("first").join(name));
        let _absent = std::fs::remove_dir_all(&first);
        std::fs::create_dir_all(out.join("first"))
            .and_then(|()| std::fs::rename(&folder, &first))
            .with_context(|| format!("move {} to {}", folder.display(), first.display()))?;
        Ok(first.display().to_string())
    }

    /// Runs one scenario. Returns it if it failed.
    async fn perform(&self, scenario: Scenario, suffix: &str) -> Option<Scenario> {
        let stage = match Stage::new(scenario.name, Arc::clone(&self.tools), self.start) {
            Ok(stage) => stage,
            Err(error) => {
                println!("{}: FAILED: {error:#}", scenario.name);
                return Some(scenario);
            }
        };
        stage.say(format_args!("begins: {}", scenario.proves));
        let start = Instant::now();
        let result = match scenario.steps {
            Steps::Programs(steps) => limited(steps(stage.clone())).await,
            Steps::Kubernetes(steps) => self.in_namespace(&stage, steps, suffix).await,
        };
        let seconds = start.elapsed().as_secs();
        match result {
            Ok(()) => {
                stage.say(format_args!("PASSED in {seconds} s"));
                None
            }
            Err(error) => {
                stage.say(format_args!("FAILED after {seconds} s: {error:#}"));
                println!("       its logs are in {}", stage.folder().display());
                Some(scenario)
            }
        }
    }

    /// Runs the steps in a namespace that is made for them.
    async fn in_namespace(
        &self,
        stage: &Stage,
        steps: fn(Namespace) -> futures::future::BoxFuture<'static, Result<()>>,
        suffix: &str,
    ) -> Result<()> {
        let cluster = self.cluster.as_ref().context("no cluster")?;
        let name = format!("e2e-{}{suffix}", stage.scenario);
        let namespace = Namespace::new(stage.clone(), Arc::clone(cluster), name);
        let start = Instant::now();
        let result = async {
            namespace.create().await?;
            limited(steps(namespace.clone())).await
        };
        let result = result.await;
        // However it has ended: the scenarios after it need what it has broken.
        let repaired = namespace.repair_at_end().await;
        if let Err(error) = &repaired {
            stage.say(format_args!("cannot repair the cluster: {error:#}"));
        }
        let result = result.and(repaired);
        if let Err(error) = &result {
            let tail = cluster::diagnose(&namespace, error, start.elapsed()).await;
            println!("{tail}");
        }
        // After a failure, too: what stays would burden the scenarios that follow.
        if !self.keep {
            tokio::spawn(async move {
                if let Err(error) = namespace.delete().await {
                    namespace
                        .stage
                        .say(format_args!("cannot clean up: {error:#}"));
                }
            });
        }
        result
    }
}

/// Runs steps in their own task, where a panic is a failure of this scenario only.
async fn limited(steps: futures::future::BoxFuture<'static, Result<()>>) -> Result<()> {
    let mut task = tokio::spawn(steps);
    let Ok(ended) = timeout(LIMIT, &mut task).await else {
        // It would disturb the scenarios after it.
        task.abort();
        let _aborted = task.await;
        bail!("not done after {LIMIT:?}");
    };
    match ended {
        Ok(result) => result,
        Err(panicked) => bail!("the scenario panicked: {panicked}"),
    }
}

/// Longer than any scenario takes.
const LIMIT: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn scenario_that_takes_too_long_does_nothing_more() {
        let ended = Arc::new(AtomicBool::new(false));
        let steps = {
            let ended = Arc::clone(&ended);
            async move {
                sleep(LIMIT + Duration::from_secs(1)).await;
                ended.store(true, Ordering::Relaxed);
                Ok(())
            }
        };
        let error = limited(Box::pin(steps)).await.unwrap_err();
        assert!(error.to_string().contains("not done"), "{error}");
        sleep(LIMIT).await;
        assert!(!ended.load(Ordering::Relaxed), "it went on");
    }
}
