//! The resource explains itself, and the API server accepts its definition and every example.

use anyhow::{Result, ensure};

use crate::cluster::Namespace;
use crate::process::{beginning, run as run_line};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    for (path, expected) in [
        ("lc", "live streaming cluster"),
        ("lc.spec.edges", "drainTimeoutSeconds"),
        ("lc.spec.edges.service", "externalTrafficPolicy"),
        (
            "lc.spec.stream.continuitySeconds",
            "Seconds that viewers stay connected",
        ),
        ("lc.spec --recursive", "topologySpreadConstraints"),
    ] {
        let text = namespace.kubectl(&format!("explain {path}")).await?;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let explained = words.contains(expected);
        let seen = beginning(&text);
        ensure!(
            explained,
            "kubectl explain {path}: expected {expected:?}, seen {seen}"
        );
    }

    // Client-side apply keeps the whole definition in an annotation.
    let dry_run = "apply --dry-run=server --validate=strict -f";
    run_line(&format!("kubectl {dry_run} crds/")).await?;
    let mut examples = 0;
    for example in std::fs::read_dir("crds/examples")? {
        let file = example?.path();
        let line = format!("{dry_run} {}", file.display());
        namespace.kubectl(&line).await?;
        examples += 1;
    }
    ensure!(examples > 0, "there are no examples");
    Ok(())
}
