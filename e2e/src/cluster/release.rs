//! The operator's Helm release.

use anyhow::Context;

use super::{Options, command};

/// The namespace of the operator.
pub const SYSTEM_NAMESPACE: &str = "livecluster-system";

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
    pub(super) fn of(options: &Options) -> Self {
        let mut values = Vec::new();
        for (prefix, image) in [
            ("image", &options.operator_image),
            ("mediaNode.image", &options.media_node_image),
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
            namespace: SYSTEM_NAMESPACE.to_owned(),
            values,
        }
    }

    /// The name of the operator's Deployment.
    pub fn deployment(&self) -> String {
        format!("{}-operator", self.name)
    }

    /// `helm upgrade --install` with further values, waiting until the operator is ready; what Helm said.
    ///
    /// # Errors
    /// When Helm fails.
    pub async fn install(&self, further: &[&str]) -> anyhow::Result<String> {
        let mut line = vec!["helm", "upgrade", "--install", &self.name, &self.chart];
        line.extend(["--namespace", &self.namespace, "--create-namespace"]);
        line.extend(["--wait", "--timeout", "180s"]);
        for value in self
            .values
            .iter()
            .map(String::as_str)
            .chain(further.iter().copied())
        {
            line.extend(["--set", value]);
        }
        command(&line, "")
            .await?
            .success()
            .context("helm upgrade --install")
    }

    /// Any other Helm command on this release: `helm ARGUMENTS -n NAMESPACE`.
    ///
    /// # Errors
    /// When Helm fails.
    pub async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut line = vec!["helm"];
        line.extend(arguments);
        line.extend(["--namespace", &self.namespace]);
        command(&line, "").await?.success()
    }
}
