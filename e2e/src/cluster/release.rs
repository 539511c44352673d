//! The operator's Helm release.

use std::time::Duration;

use anyhow::{Context, Result};

use super::TargetCluster;
use crate::process;
use crate::wait::DEADLINE;

/// For how long an operator of a release waits before it takes a Lease that another one does not renew.
pub const LEASE: Duration = Duration::from_secs(15);

/// How the operator is installed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// The chart's folder.
    pub chart: String,
    /// The namespace.
    pub namespace: String,
    /// The values that name the images under test.
    pub values: Vec<String>,
}

impl Release {
    pub(super) fn of(target: &TargetCluster) -> Self {
        let mut values = Vec::new();
        for (prefix, image) in [
            ("image", &target.operator_image),
            ("mediaNode.image", &target.media_node_image),
        ] {
            if let Some((repository, tag)) = image.as_deref().and_then(|name| name.rsplit_once(':'))
            {
                values.push(format!("{prefix}.repository={repository}"));
                values.push(format!("{prefix}.tag={tag}"));
            }
        }
        Self {
            name: "livecluster".to_owned(),
            chart: "charts/livecluster".to_owned(),
            namespace: "livecluster-system".to_owned(),
            values,
        }
    }

    /// The name of the operator's Deployment, Lease and ServiceAccount.
    pub fn deployment(&self) -> String {
        format!("{}-operator", self.name)
    }

    /// Runs `helm upgrade --install` with the images and further values, and waits until the operator is ready. Returns Helm's
    /// output.
    pub async fn install(&self, further: &[&str]) -> Result<String> {
        let (name, chart, limit) = (&self.name, &self.chart, DEADLINE.as_secs());
        let values = self.values.iter().map(String::as_str);
        let values = set(values.chain(further.iter().copied()));
        self.helm(&format!(
            "upgrade --install {name} {chart} --create-namespace --wait --timeout {limit}s {values}"
        ))
        .await
    }

    /// Installs it with the images only, whatever has become of it. Helm refuses to upgrade a release whose Helm was killed, or whose
    /// uninstallation was refused; when it knows of no release, it takes over the objects of that one.
    pub async fn restore(&self) -> Result<()> {
        if self.install(&[]).await.is_ok() {
            return Ok(());
        }
        let (namespace, name) = (&self.namespace, &self.name);
        let releases = format!("secrets -l owner=helm,name={name}");
        process::run(&format!("kubectl -n {namespace} delete {releases}")).await?;
        self.install(&[]).await.map(drop)
    }

    /// Runs Helm in the release's namespace. Returns its output.
    pub async fn helm(&self, line: &str) -> Result<String> {
        let line = format!("helm --namespace {} {line}", self.namespace);
        process::run(&line).await.context("helm")
    }
}

/// The options that set these values.
pub fn set<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.map(|value| format!("--set {value} ")).collect()
}
