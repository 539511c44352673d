//! A Prometheus on this host, with forwarded ports to the Pods that it scrapes.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::monitors::{self, Monitored};
use crate::cluster::Namespace;
use crate::process::{Process, command, finish};
use crate::wait::{DEADLINE, eventually};

pub(super) struct Prometheus {
    url: String,
    _processes: Vec<Process>,
}

impl Prometheus {
    /// Starts it with the chart's alerts, and with the Pods that the chart's monitors select as targets.
    pub(super) async fn start(namespace: &Namespace) -> Result<Self> {
        let monitored = monitors::monitored(namespace).await?;
        let forwards = monitored.iter().map(|it| forward(namespace, it));
        let (mut processes, addresses): (Vec<_>, Vec<_>) =
            try_join_all(forwards).await?.into_iter().unzip();
        let jobs = monitored.iter().zip(addresses).enumerate();
        let jobs = jobs.map(|(number, (it, address))| {
            json!({
                "job_name": format!("{} {number}", it.monitor),
                "honor_labels": it.honor_labels,
                "metrics_path": it.path,
                "static_configs": [{"targets": [address], "labels": it.labels}],
            })
        });
        let alerts = std::fs::canonicalize(ALERTS).context(ALERTS)?;
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [alerts],
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        let (process, address) = serve(namespace.stage.folder(), &config).await?;
        processes.push(process);
        Ok(Self {
            url: format!("http://{address}"),
            _processes: processes,
        })
    }

    /// Returns the samples of a query. A quantile of nothing is no sample.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = self.get("query", Some(query)).await?;
        let samples = answer["result"].as_array().context("no result")?;
        let is_number = |sample: &&Value| sample["value"][1] != "NaN";
        Ok(samples.iter().filter(is_number).cloned().collect())
    }

    /// Waits until a query has a result.
    pub(super) async fn until(&self, query: &str, expected: &str) -> Result<()> {
        eventually(expected, DEADLINE, || async {
            let samples = self.query(query).await?;
            ensure!(!samples.is_empty(), "no result of {query}");
            Ok(())
        })
        .await
    }

    /// Waits until each query of the dashboard's panels has a result.
    pub(super) async fn until_all(&self, queries: &[(String, String)]) -> Result<()> {
        for (panel, query) in queries {
            let expected = format!("a result for panel {panel:?}");
            self.until(query, &expected).await?;
        }
        Ok(())
    }

    /// Waits until every alert has been evaluated. Fails when one cannot be.
    pub(super) async fn assert_rules(&self) -> Result<()> {
        eventually("every alert is evaluated", DEADLINE, || async {
            let answer = self.get("rules", None).await?;
            let groups = answer["groups"].as_array().context("no groups")?;
            let rules = groups.iter().filter_map(|group| group["rules"].as_array());
            let rules: Vec<&Value> = rules.flatten().collect();
            ensure!(!rules.is_empty(), "no alerts");
            for rule in rules {
                let (name, health) = (&rule["name"], &rule["health"]);
                ensure!(health == "ok", "{name} is {health}: {}", rule["lastError"]);
            }
            Ok(())
        })
        .await
    }

    async fn get(&self, path: &str, query: Option<&str>) -> Result<Value> {
        let line = format!(
            "curl --silent --show-error --get {}/api/v1/{path}",
            self.url
        );
        let mut curl = command(&line);
        if let Some(query) = query {
            curl.arg("--data-urlencode").arg(format!("query={query}"));
        }
        let answer = finish(&mut curl, "").await?.success()?;
        let answer: Value = serde_json::from_str(&answer)?;
        let is_success = answer["status"] == "success";
        ensure!(is_success, "{path} {query:?}: {}", answer["error"]);
        Ok(answer["data"].clone())
    }
}

/// Starts Prometheus with this configuration, on a port that it chooses. Returns it with its address.
async fn serve(folder: &Path, config: &Value) -> Result<(Process, String)> {
    std::fs::write(folder.join("prometheus.yaml"), config.to_string())?;
    let line = format!(
        "prometheus --config.file={0}/prometheus.yaml --storage.tsdb.path={0}/data --web.listen-address=127.0.0.1:0",
        folder.display()
    );
    let mut process = Process::start("prometheus", &mut command(&line), folder)?;
    let ready = "Server is ready to receive web requests";
    process.prints(ready, DEADLINE).await?;
    let address = value_after(
        "msg=\"Listening on\" component=web address=",
        &process.output(),
    )?;
    Ok((process, address))
}

/// Forwards a port of this host to the metrics of a Pod. Returns its address.
async fn forward(namespace: &Namespace, it: &Monitored) -> Result<(Process, String)> {
    let line = format!(
        "kubectl -n {} port-forward pod/{} :{}",
        it.namespace, it.pod, it.port
    );
    let mut process = Process::start(&it.pod, &mut command(&line), namespace.stage.folder())?;
    let begin = "Forwarding from 127.0.0.1:";
    process.prints(begin, DEADLINE).await?;
    let port = value_after(begin, &process.output())?;
    Ok((process, format!("127.0.0.1:{port}")))
}

/// Returns what stands behind some words, up to the next space.
fn value_after(words: &str, output: &str) -> Result<String> {
    let mut rest = output.split(words).skip(1).flat_map(str::split_whitespace);
    let value = rest.next();
    Ok(value.with_context(|| format!("no {words}"))?.to_owned())
}

const ALERTS: &str = "charts/livecluster/files/alerts.yaml";
