//! The operator's Helm release.

use anyhow::{Context, Result};

use super::TargetCluster;
use crate::process;

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
        let (name, chart) = (&self.name, &self.chart);
        let values = self.values.iter().map(String::as_str);
        let values = set(values.chain(further.iter().copied()));
        self.helm(&format!(
            "upgrade --install {name} {chart} --create-namespace --wait --timeout 180s {values}"
        ))
        .await
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
