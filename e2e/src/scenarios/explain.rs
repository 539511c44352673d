//! The resource explains itself, and its definition is small enough for every way to apply it.

use anyhow::ensure;

use crate::cluster::{Stage, beginning, command};

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    for (path, expected) in [
        ("lc", "live streaming cluster"),
        ("lc.spec.edges", "drainTimeoutSeconds"),
        ("lc.spec.edges.service", "externalTrafficPolicy"),
        (
            "lc.spec.stream.continuitySeconds",
            "Seconds that viewers stay connected",
        ),
    ] {
        let text = stage.kubectl(&["explain", path]).await?;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            words.contains(expected),
            "kubectl explain {path}: expected {expected:?}, seen {}",
            beginning(&text)
        );
    }
    let all = stage
        .kubectl(&["explain", "lc.spec", "--recursive"])
        .await?;
    ensure!(
        all.contains("topologySpreadConstraints"),
        "kubectl explain lc.spec --recursive: expected topologySpreadConstraints, seen {}",
        beginning(&all)
    );

    let size = std::fs::metadata("crds/livecluster.yaml")?.len();
    ensure!(
        size < LARGEST,
        "crds/livecluster.yaml: expected less than {LARGEST} bytes, seen {size}"
    );
    // Client-side apply keeps the whole definition in an annotation, which has its own limit.
    command(
        &[
            "kubectl",
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "crds/",
        ],
        "",
    )
    .await?
    .success()?;
    for example in std::fs::read_dir("crds/examples")? {
        let file = example?.path();
        let file = file.to_string_lossy();
        let line = [
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &file,
        ];
        stage.kubectl(&line).await?;
    }
    Ok(())
}

/// An annotation may have 262,144 bytes; this leaves room for a few more fields.
const LARGEST: u64 = 200_000;
