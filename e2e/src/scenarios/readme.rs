//! The lines of the README's section "On Kubernetes", as they stand there, on a cluster of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::cluster::{Stage, eventually};
use crate::live::{Encoder, Viewer};
use crate::media::process;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let readme = std::fs::read_to_string("README.md")?;
    let lines =
        commands(&readme).context("README.md has no section On Kubernetes with commands")?;
    let folder = std::fs::canonicalize(stage.folder()?)?;
    let name = cluster_name(&lines).context("no `kind create cluster --name …` among them")?;
    let shell = Shell::new(folder)?;
    shell
        .run(&format!("kind delete cluster --name {name}"))
        .await?;
    let result = follow(&stage, &shell, &lines).await;
    if result.is_err() {
        let state = "kubectl get pods,lc -A -o wide; kubectl get events -A | tail -20";
        stage.say(
            shell
                .run(state)
                .await
                .unwrap_or_else(|error| error.to_string()),
        );
    }
    shell
        .run(&format!("kind delete cluster --name {name}"))
        .await?;
    result
}

async fn follow(stage: &Stage, shell: &Shell, lines: &[String]) -> anyhow::Result<()> {
    for line in lines {
        stage.say(line);
        shell.run(line).await.with_context(|| line.clone())?;
    }
    let publish = "rtmp://localhost/live/livestream";
    let expected = format!("{publish} takes a stream");
    let encoder = eventually(&expected, Duration::from_secs(120), || {
        Encoder::publish(publish)
    })
    .await?;
    for url in ["http://localhost:8080/live/livestream.flv", publish] {
        let mut viewer = Viewer::watch(url).await?;
        viewer.sees_more(50, Duration::from_secs(10)).await?;
        viewer.sightings().is_well_formed()?;
    }
    encoder.never_noticed()
}

/// The commands of the first code block behind the heading.
fn commands(readme: &str) -> Option<Vec<String>> {
    let (_, section) = readme.split_once("\n## On Kubernetes")?;
    let (_, block) = section.split_once("\n```")?;
    let (block, _) = block.split_once("\n```")?;
    let joined = block.replace("\\\n", " ");
    let lines: Vec<String> = joined
        .lines()
        .skip(1)
        .map(|line| {
            line.split(" # ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    (!lines.is_empty()).then_some(lines)
}

fn cluster_name(lines: &[String]) -> Option<&str> {
    let create = lines
        .iter()
        .find(|line| line.starts_with("kind create cluster"))?;
    create.split_once("--name ")?.1.split(' ').next()
}

/// A shell like the reader's. Where images cannot be pulled, its `kind` takes the node image that is there.
struct Shell {
    folder: PathBuf,
}

impl Shell {
    fn new(folder: PathBuf) -> anyhow::Result<Self> {
        let kind = which("kind")?;
        let program = format!(
            "#!/bin/sh\nif [ \"$1 $2\" = 'create cluster' ] && [ \"$LIVECLUSTER_NODE_IMAGE\" ]; then set -- \"$@\" --image \"$LIVECLUSTER_NODE_IMAGE\"; fi\nexec {} \"$@\"\n",
            kind.display()
        );
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin)?;
        let file = bin.join("kind");
        std::fs::write(&file, program)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode)?;
        Ok(Self { folder })
    }

    async fn run(&self, line: &str) -> anyhow::Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .env(
                "PATH",
                format!("{}:{path}", self.folder.join("bin").display()),
            )
            .env("KUBECONFIG", self.folder.join("kubeconfig"));
        process::run(&mut command, Duration::from_secs(1200)).await
    }
}

fn which(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file());
    found.with_context(|| format!("no {program} in PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_of_the_section_is_what_is_run() {
        let readme = "# X\n\n## On Kubernetes\n\nText.\n\n```sh\nkind create cluster --name live --config a.yaml # comment\nhelm install \\\n  x\n\n```\n\n```sh\nother\n```\n";
        let lines = commands(readme).unwrap();
        assert_eq!(
            lines,
            [
                "kind create cluster --name live --config a.yaml",
                "helm install    x"
            ]
        );
        assert_eq!(cluster_name(&lines), Some("live"));
    }
}
