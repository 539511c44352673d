//! The memory of the container: the lowest limit of the process's control groups, version 1 or 2, and what is in use there.

use std::path::{Component, Path};

use crate::small_file;

/// The control group with the lowest limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContainerMemory {
    /// Bytes. The kernel kills a process that cannot keep within them.
    pub(super) limit: u64,
    /// Bytes in use, without the pages of files, which the kernel drops first.
    pub(super) usage: u64,
}

/// The memory that a container has in use is to stay so far below its limit: what encoders send between two readings, and what of it
/// is in the kernel's buffers and in messages that are not complete.
const HEADROOM: u64 = 24 << 20;

impl ContainerMemory {
    /// Returns the usage from which on the container is nearly full.
    pub(super) fn nearly_full(&self) -> u64 {
        let headroom = HEADROOM.min(self.limit / 2);
        self.limit - headroom.max(self.limit / 8)
    }

    /// Returns the usage below which it has room again.
    pub(super) fn has_room(&self) -> u64 {
        self.nearly_full().saturating_sub(self.limit / 8)
    }
}

/// The names of a version's files.
struct LimitFiles {
    limit: &'static str,
    usage: &'static str,
}

const VERSION_1: LimitFiles = LimitFiles {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
};

const VERSION_2: LimitFiles = LimitFiles {
    limit: "memory.max",
    usage: "memory.current",
};

/// Lines of `memory.stat`: the pages of files.
const FILE_PAGES: [&str; 2] = ["active_file", "inactive_file"];

/// Returns the memory of the process's container, if it has a limit.
pub(super) fn container_memory(root: &Path) -> Option<ContainerMemory> {
    let groups = small_file::read_text(&root.join("proc/self/cgroup")).ok()?;
    let limited = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let mut controllers = controllers.split(',');
        if id == "0" {
            lowest(&root.join("sys/fs/cgroup"), group, &VERSION_2)
        } else if controllers.any(|controller| controller == "memory") {
            lowest(&root.join("sys/fs/cgroup/memory"), group, &VERSION_1)
        } else {
            None
        }
    });
    limited.min_by_key(|container| container.limit)
}

/// Returns the control group with the lowest limit: `group` or one above it. In a container, `folder` itself can be the group.
fn lowest(folder: &Path, group: &str, files: &LimitFiles) -> Option<ContainerMemory> {
    let names = Path::new(group).components();
    let names = names.filter(|name| matches!(name, Component::Normal(_)));
    let below = names.scan(folder.to_path_buf(), |folder, name| {
        folder.push(name);
        Some(folder.clone())
    });
    let folders = std::iter::once(folder.to_path_buf()).chain(below);
    let limits = folders.filter_map(|folder| Some((number(&folder.join(files.limit))?, folder)));
    let (limit, folder) = limits.min_by_key(|(limit, _)| *limit)?;
    let usage = usage(&folder, files).unwrap_or(0);
    Some(ContainerMemory { limit, usage })
}

fn usage(folder: &Path, files: &LimitFiles) -> Option<u64> {
    let all = number(&folder.join(files.usage))?;
    let stat = small_file::read_text(&folder.join("memory.stat")).unwrap_or_default();
    let pages = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        let bytes: u64 = bytes.parse().ok()?;
        FILE_PAGES.contains(&name).then_some(bytes)
    });
    Some(all.saturating_sub(pages.sum()))
}

/// Returns the number in a file, or `None` for `max`.
fn number(file: &Path) -> Option<u64> {
    small_file::read_text(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn small_container_keeps_more_of_its_memory_free() {
        let bounds = |mebibytes: u64| {
            let container = ContainerMemory {
                limit: mebibytes << 20,
                usage: 0,
            };
            [container.has_room() >> 20, container.nearly_full() >> 20]
        };
        assert_eq!(bounds(512), [384, 448]);
        assert_eq!(bounds(192), [144, 168]);
        assert_eq!(bounds(64), [32, 40]);
        assert_eq!(bounds(16), [6, 8]);
    }

    #[test]
    fn usage_is_without_the_pages_of_files() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("proc/self/cgroup", "0::/pods/a\n");
        write("sys/fs/cgroup/pods/memory.max", "max\n");
        write("sys/fs/cgroup/pods/a/memory.max", "1000\n");
        let memory = |usage| Some(ContainerMemory { limit: 1000, usage });
        assert_eq!(container_memory(root.path()), memory(0));
        write("sys/fs/cgroup/pods/a/memory.current", "900\n");
        assert_eq!(container_memory(root.path()), memory(900));
        write(
            "sys/fs/cgroup/pods/a/memory.stat",
            "anon 600\nfile 250\ninactive_anon 1\nactive_file 50\ninactive_file 200\n",
        );
        assert_eq!(container_memory(root.path()), memory(650));
    }
}
