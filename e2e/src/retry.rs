//! Scenarios run in real time, on machines with neighbours. Those that failed may be tried once more, each by itself; the run
//! says so, and the story of the first time stays.

use std::path::Path;

use anyhow::Context;

/// Says that a scenario is tried again, and moves what its first failure left from `out/NAME` to `out/first/NAME`.
///
/// # Errors
/// When the folder cannot be moved.
pub(crate) fn once_more(out: &Path, name: &str, elapsed: u64) -> anyhow::Result<()> {
    let (folder, first) = (out.join(name), out.join("first").join(name));
    println!(
        "{elapsed:4}s  once more, by itself: {name} (the story of the first time: {})",
        first.display()
    );
    let _absent = std::fs::remove_dir_all(&first);
    std::fs::create_dir_all(out.join("first"))
        .and_then(|()| std::fs::rename(&folder, &first))
        .with_context(|| format!("move {} to {}", folder.display(), first.display()))
}
