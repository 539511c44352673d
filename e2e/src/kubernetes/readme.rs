//! The lines of the README's section "On Kubernetes" work as they are, on a cluster of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::cluster::Namespace;
use crate::media::{Encoder, Viewer};
use crate::process::finish;
use crate::wait::{DEADLINE, MEDIA, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let readme = std::fs::read_to_string("README.md")?;
    let lines = commands(&readme).context("README.md has no commands in On Kubernetes")?;
    let name = cluster_name(&lines).context("no `kind create cluster --name …` among them")?;
    let shell = Shell::new(namespace.stage.folder().canonicalize()?)?;
    let delete = format!("kind delete cluster --name {name}");
    shell.run(&delete).await?;
    let (again, line) = (shell.clone(), delete.clone());
    namespace.repaired_by(move |_| {
        let (shell, line) = (again.clone(), line.clone());
        async move { shell.run(&line).await.map(drop) }
    });
    let result = follow(&namespace, &shell, &lines).await;
    if result.is_err() {
        let state = "kubectl get pods,lc -A -o wide; kubectl get events -A | tail -20";
        let state = shell.run(state).await;
        namespace.say(state.unwrap_or_else(|error| error.to_string()));
    }
    result
}

async fn follow(namespace: &Namespace, shell: &Shell, lines: &[String]) -> Result<()> {
    for line in lines {
        namespace.say(line);
        shell.run(line).await?;
    }
    let url = "rtmp://localhost/live/livestream";
    let expected = format!("{url} accepts a stream");
    let publish = || Encoder::publish(url);
    let encoder = eventually(&expected, DEADLINE, publish).await?;
    for url in ["http://localhost:8080/live/livestream.flv", url] {
        let mut viewer = Viewer::watch(url).await?;
        viewer.sees_more(50, MEDIA).await?;
        viewer.assert_uninterrupted(&encoder)?;
    }
    encoder.assert_undisturbed()
}

/// The commands of the first code block after the heading.
fn commands(readme: &str) -> Option<Vec<String>> {
    let (_, section) = readme.split_once("\n## On Kubernetes")?;
    let (_, block) = section.split_once("\n```")?;
    let (block, _) = block.split_once("\n```")?;
    let joined = block.replace("\\\n", " ");
    let uncommented = joined.lines().skip(1).map(|line| line.split(" # ").next());
    let lines = uncommented.map(|line| line.unwrap_or_default().trim().to_owned());
    let lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    (!lines.is_empty()).then_some(lines)
}

fn cluster_name(lines: &[String]) -> Option<&str> {
    let mut lines = lines.iter();
    let create = lines.find(|line| line.starts_with("kind create cluster"))?;
    create.split_once("--name ")?.1.split(' ').next()
}

/// A shell like the reader's. Where images cannot be pulled, its `kind` uses the node image that was built. It tries again to create a
/// cluster, as `e2e/run` does: on a host with other load systemd may start too slowly for it.
#[derive(Clone)]
struct Shell {
    folder: PathBuf,
}

impl Shell {
    fn new(folder: PathBuf) -> Result<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut programs = path.split(':').map(|folder| Path::new(folder).join("kind"));
        let kind = programs
            .find(|file| file.is_file())
            .context("no kind in PATH")?;
        let script = format!(
            r#"#!/bin/sh
kind={}
[ "$1 $2" = 'create cluster' ] || exec "$kind" "$@"
[ ! "$LIVECLUSTER_NODE_IMAGE" ] || set -- "$@" --image "$LIVECLUSTER_NODE_IMAGE"
"$kind" "$@" || "$kind" "$@" || exec "$kind" "$@"
"#,
            kind.display()
        );
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin)?;
        let file = bin.join("kind");
        std::fs::write(&file, script)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode)?;
        Ok(Self { folder })
    }

    async fn run(&self, line: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.folder.join("bin").display());
        let mut command = Command::new("bash");
        command.args(["-c", line]).env("PATH", path);
        command.env("KUBECONFIG", self.folder.join("kubeconfig"));
        finish(&mut command, "").await?.success()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_block_of_the_section_is_run() {
        let readme = "# X\n\n## On Kubernetes\n\nText.\n\n```sh\nkind create cluster --name live --config a.yaml # comment\nhelm install \\\n  x\n\n```\n\n```sh\nother\n```\n";
        let lines = commands(readme).unwrap();
        let expected = [
            "kind create cluster --name live --config a.yaml",
            "helm install    x",
        ];
        assert_eq!(lines, expected);
        assert_eq!(cluster_name(&lines), Some("live"));
    }
}
