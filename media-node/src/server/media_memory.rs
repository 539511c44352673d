//! The memory for media: what the configuration says, or a share of what the container may use. The log says when it becomes
//! short.

use std::path::{Component, Path};
use std::time::Duration;

use media_config::Limits;
use media_engine::{MemoryStats, Registry};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::state::limits::CurrentLimits;

/// The smallest share: without it no stream could start.
const MIN: u64 = 16 << 20;

/// The share where the amount of memory is unknown.
const UNKNOWN: u64 = 256 << 20;

/// Returns the memory for media, in bytes.
pub(super) fn media_memory(limits: &Limits) -> usize {
    let configured = limits.max_media_bytes();
    configured.unwrap_or_else(|| share(Path::new("/")))
}

/// Follows the memory limit of the container, which Kubernetes can change while it runs.
pub(super) async fn follow(registry: Registry, limits: CurrentLimits, period: Duration) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (registry, limits) = (registry.clone(), limits.get());
        let follow = move || registry.limit_memory(media_memory(&limits));
        // A panic was printed by its thread. The next round tries again.
        drop(tokio::task::spawn_blocking(follow).await);
    }
}

/// Logs that memory has become short, or is sufficient again. Returns whether it is short.
pub(super) fn log_pressure(was_short: bool, registry: &Registry) -> bool {
    let MemoryStats {
        used,
        limit,
        pressure,
        ..
    } = registry.memory();
    match (was_short, pressure) {
        (false, true) => warn!(
            used,
            limit, "memory for media is short: streams buffer less, publishers may be refused"
        ),
        (true, false) => info!(used, limit, "memory for media is sufficient"),
        _ => {}
    }
    pressure
}

/// Returns the share of the memory that there is. A third of a container's limit is left for connections, buffers of reads
/// and the program. Where there is no limit, other programs and Pods have a part of the memory as well.
fn share(root: &Path) -> usize {
    let machine = machine_memory(root);
    let is_limit = |limit: &u64| machine.is_none_or(|machine| *limit < machine);
    let share = match (container_limit(root).filter(is_limit), machine) {
        (Some(limit), _) => limit / 3 * 2,
        (None, Some(machine)) => machine / 4,
        (None, None) => UNKNOWN,
    };
    usize::try_from(share.max(MIN)).unwrap_or(usize::MAX)
}

fn machine_memory(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// Returns the lowest memory limit of the process's control groups, version 1 or 2.
fn container_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let mut controllers = controllers.split(',');
        if id == "0" {
            lowest_limit(&root.join("sys/fs/cgroup"), group, "memory.max")
        } else if controllers.any(|controller| controller == "memory") {
            let folder = root.join("sys/fs/cgroup/memory");
            lowest_limit(&folder, group, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.min()
}

/// Returns the lowest limit of a group and those above it. In a container the group can be its folder itself.
fn lowest_limit(folder: &Path, group: &str, file: &str) -> Option<u64> {
    let read = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join(file)).ok()?;
        // `max` is no limit.
        text.trim().parse().ok()
    };
    let names = Path::new(group).components();
    let names = names.filter(|name| matches!(name, Component::Normal(_)));
    let mut folder = folder.to_path_buf();
    let mut lowest: Option<u64> = read(&folder);
    for name in names {
        folder.push(name);
        lowest = lowest.into_iter().chain(read(&folder)).min();
    }
    lowest
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the share in a system with these files.
    fn share_with(files: &[(&str, &str)]) -> usize {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        share(root.path())
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemFree: 1 kB\nMemTotal:       8388608 kB\n",
    );

    #[test]
    fn two_thirds_of_the_containers_limit_are_for_media() {
        let version_2 = share_with(&[
            MACHINE,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ]);
        assert_eq!(version_2, (512 << 20) / 3 * 2);
        let version_1 = share_with(&[
            MACHINE,
            (
                "proc/self/cgroup",
                "3:cpu,cpuacct:/docker/a\n2:hugetlb,memory:/docker/a\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "402653184\n"),
        ]);
        assert_eq!(version_1, 256 << 20);
    }

    #[test]
    fn lowest_limit_of_all_groups_counts() {
        let share = share_with(&[
            MACHINE,
            ("proc/self/cgroup", "0::/../pods/a\n"),
            ("sys/fs/cgroup/pods/memory.max", "314572800\n"),
            ("sys/fs/cgroup/pods/a/memory.max", "max\n"),
        ]);
        assert_eq!(share, 200 << 20);
    }

    #[test]
    fn quarter_of_the_machine_is_for_media_without_a_limit() {
        let group = ("proc/self/cgroup", "0::/\n");
        let none = ("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(share_with(&[MACHINE, group, none]), 2 << 30);
        // Version 1 has a number for no limit.
        let group = ("proc/self/cgroup", "2:memory:/\n");
        let file = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let none = (file, "9223372036854771712");
        assert_eq!(share_with(&[MACHINE, group, none]), 2 << 30);
        assert_eq!(share_with(&[]), 256 << 20);
    }

    #[test]
    fn smallest_container_has_memory_for_some_streams() {
        let group = ("proc/self/cgroup", "0::/\n");
        let limit = ("sys/fs/cgroup/memory.max", "1000000");
        assert_eq!(share_with(&[MACHINE, group, limit]), 16 << 20);
    }
}
