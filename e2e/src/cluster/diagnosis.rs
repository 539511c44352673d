//! What is needed to understand a failure, in one folder: the LiveClusters, all objects around them, events, logs of now and
//! of the containers before, the operator's log.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Stage, command};

/// Collects it all, and returns the folder and the few lines that tell most.
pub(super) async fn diagnose(
    stage: &Stage,
    error: &anyhow::Error,
    since: Duration,
) -> (PathBuf, String) {
    let folder = stage.cluster.out.join(stage.scenario);
    let mut tail = String::new();
    if let Err(unwritable) = tokio::fs::create_dir_all(&folder).await {
        return (folder, format!("cannot write the folder: {unwritable}"));
    }
    keep(&folder, "error.txt", &format!("{error:#}\n")).await;

    let namespace = stage.namespace.as_str();
    let release = &stage.cluster.release;
    let since = format!("--since={}s", since.as_secs() + 5);
    let operator = format!("deployment/{}", release.deployment());
    let objects = "liveclusters,deployments,replicasets,pods,services,endpointslices,configmaps,poddisruptionbudgets,\
                   networkpolicies,horizontalpodautoscalers,serviceaccounts,leases";
    // What, where and how to get it, and how many of its last lines tell most.
    let system = release.namespace.as_str();
    let collected = [
        ("state.txt", namespace, "get lc,deployments,pods", 16),
        (
            "objects.txt",
            namespace,
            &format!("get {objects} -o wide"),
            0,
        ),
        (
            "objects.yaml",
            namespace,
            &format!("get {objects} -o yaml"),
            0,
        ),
        ("pods.txt", namespace, "describe pods", 0),
        (
            "events.txt",
            namespace,
            "get events --sort-by=.metadata.creationTimestamp",
            12,
        ),
        ("nodes.txt", namespace, "describe nodes", 0),
        ("operators.txt", system, "get pods,deployments,leases", 8),
        (
            "operator.log",
            system,
            &format!("logs {operator} --all-pods --prefix {since}"),
            6,
        ),
    ];
    for (file, place, command, lines) in collected {
        let arguments: Vec<&str> = ["-n", place]
            .into_iter()
            .chain(command.split(' '))
            .collect();
        let text = kubectl(&arguments).await;
        keep(&folder, file, &text).await;
        if lines > 0 {
            let _infallible = write!(tail, "--- {file}\n{}\n", last(&text, lines));
        }
    }
    logs(&folder, namespace).await;
    if let Some(kind) = &stage.cluster.kind
        && let Err(error) = machines(&folder.join("machines"), kind, namespace).await
    {
        keep(&folder, "machines.txt", &format!("{error:#}\n")).await;
    }
    (folder, tail)
}

/// The machines' own logs. Of the API server's audit log, which holds all that any scenario did, only what names this one's
/// namespace; of the journals not the binary files, which have 8 MB each and say what `journal.log` says.
async fn machines(into: &Path, kind: &str, namespace: &str) -> anyhow::Result<()> {
    let path = into.to_string_lossy();
    let line = ["kind", "export", "logs", &path, "--name", kind];
    let exported = command(&line, "").await?;
    let mut machines = tokio::fs::read_dir(into).await?;
    while let Some(machine) = machines.next_entry().await? {
        let _absent = tokio::fs::remove_dir_all(machine.path().join("journal")).await;
        let audit = machine.path().join("kubernetes/audit.log");
        if let Ok(whole) = tokio::fs::read_to_string(&audit).await {
            let own = whole.lines().filter(|line| line.contains(namespace));
            let own: String = own.flat_map(|line| [line, "\n"]).collect();
            tokio::fs::write(&audit, own).await?;
        }
    }
    exported.success().map(drop)
}

async fn logs(folder: &Path, namespace: &str) {
    let names = kubectl(&["-n", namespace, "get", "pods", "-o", "name"]).await;
    for pod in names.lines().filter(|line| line.starts_with("pod/")) {
        let file = pod.replace('/', "-");
        for (suffix, option) in [("log", "--previous=false"), ("before.log", "--previous")] {
            let text = kubectl(&["-n", namespace, "logs", pod, "--all-containers", option]).await;
            if !text.contains("previous terminated container") {
                keep(folder, &format!("{file}.{suffix}"), &text).await;
            }
        }
    }
}

async fn kubectl(arguments: &[&str]) -> String {
    let mut line = vec!["kubectl", "--request-timeout=10s"];
    line.extend(arguments);
    match command(&line, "").await {
        Ok(finished) => format!("{}{}", finished.stdout, finished.stderr),
        Err(error) => format!("{error:#}\n"),
    }
}

async fn keep(folder: &Path, file: &str, text: &str) {
    if let Err(error) = tokio::fs::write(folder.join(file), text).await {
        eprintln!("cannot write {file}: {error}");
    }
}

fn last(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let short = |line: &&str| line.chars().take(LINE).collect::<String>();
    let last = all.iter().skip(all.len().saturating_sub(lines)).map(short);
    last.collect::<Vec<_>>().join("\n")
}

/// What of a line is shown; the file has it whole.
const LINE: usize = 240;
