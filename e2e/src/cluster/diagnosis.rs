//! What is needed to understand a failure, in the scenario's folder: the LiveClusters, all objects around them, events, and logs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Namespace;
use crate::process;

/// Objects that are printed.
const OBJECTS: &str = "liveclusters,deployments,replicasets,pods,services,endpointslices,configmaps,poddisruptionbudgets,\
                       networkpolicies,horizontalpodautoscalers,serviceaccounts,leases";

/// The logs of all media nodes. Those of containers that ended are among the nodes' own.
const MEDIA_NODES: &str = "logs -l app.kubernetes.io/name=media-node --prefix --tail=-1";

/// Collects all of it. Returns the most useful lines.
pub(crate) async fn diagnose(
    namespace: &Namespace,
    error: &anyhow::Error,
    since: Duration,
) -> String {
    let folder = namespace.stage.folder();
    write(folder, "error.txt", &format!("{error:#}\n")).await;
    let (own, release) = (namespace.name.as_str(), &namespace.cluster.release);
    let (system, operator) = (release.namespace.as_str(), release.deployment());
    let since = since.as_secs() + 5;
    // The file, the namespace, how to get it, and how many of its last lines are printed.
    #[rustfmt::skip]
    let collected = [
        ("state.txt", own, "get lc,deployments,pods", 16),
        ("objects.txt", own, &format!("get {OBJECTS} -o wide"), 0),
        ("objects.yaml", own, &format!("get {OBJECTS} -o yaml"), 0),
        ("pods.txt", own, "describe pods", 0),
        ("events.txt", own, "get events --sort-by=.metadata.creationTimestamp", 12),
        ("nodes.txt", own, "describe nodes", 0),
        ("media-nodes.log", own, &format!("{MEDIA_NODES} --since={since}s"), 0),
        ("operators.txt", system, "get pods,deployments,leases", 8),
        ("operator.log", system, &format!("logs deployment/{operator} --all-pods --prefix --since={since}s"), 6),
    ];
    let mut tail = String::new();
    for (file, place, line, lines) in collected {
        let text = kubectl(&format!("-n {place} {line}")).await;
        write(folder, file, &text).await;
        if lines > 0 {
            let _infallible = write!(tail, "--- {file}\n{}\n", last(&text, lines));
        }
    }
    if let Some(kind) = &namespace.cluster.kind
        && let Err(error) = nodes(&folder.join("nodes"), kind, own).await
    {
        write(folder, "nodes-error.txt", &format!("{error:#}\n")).await;
    }
    tail
}

/// Collects the nodes' own logs. Of the API server's audit log, which holds what all scenarios did, only what names this namespace;
/// of the journals not the binary files, which have 8 MB each and hold what `journal.log` holds.
async fn nodes(into: &Path, kind: &str, namespace: &str) -> Result<()> {
    let into_path = into.display();
    let exported = process::run(&format!("kind export logs {into_path} --name {kind}")).await;
    let mut nodes = tokio::fs::read_dir(into).await?;
    while let Some(node) = nodes.next_entry().await? {
        let _absent = tokio::fs::remove_dir_all(node.path().join("journal")).await;
        let audit = node.path().join("kubernetes/audit.log");
        if let Ok(whole) = tokio::fs::read_to_string(&audit).await {
            let own = whole.lines().filter(|line| line.contains(namespace));
            let own: String = own.flat_map(|line| [line, "\n"]).collect();
            tokio::fs::write(&audit, own).await?;
        }
    }
    exported.map(drop)
}

async fn kubectl(line: &str) -> String {
    let mut command = process::command(&format!("kubectl --request-timeout=10s {line}"));
    match process::finish(&mut command, "").await {
        Ok(finished) => format!("{}{}", finished.stdout, finished.stderr),
        Err(error) => format!("{error:#}\n"),
    }
}

async fn write(folder: &Path, file: &str, text: &str) {
    if let Err(error) = tokio::fs::write(folder.join(file), text).await {
        eprintln!("cannot write {file}: {error}");
    }
}

/// The last lines of a text, each shortened: the file has them whole.
fn last(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let short = |line: &&str| line.chars().take(240).collect::<String>();
    let last = all.iter().skip(all.len().saturating_sub(lines)).map(short);
    last.collect::<Vec<_>>().join("\n")
}
