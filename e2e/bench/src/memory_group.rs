//! A control group with a memory limit, as a container has one. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Where version 2 is mounted, or the controllers of version 1.
const ROOT: &str = "/sys/fs/cgroup";

/// A control group. It is removed when dropped, after the processes in it have ended.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    folder: PathBuf,
    files: &'static GroupFiles,
}

/// The names of a version's files.
#[derive(Debug)]
struct GroupFiles {
    limit: &'static str,
    /// Swap space would hide what is too much.
    swap: (&'static str, &'static str),
    usage: &'static [&'static str],
    events: &'static str,
}

const VERSION_2: GroupFiles = GroupFiles {
    limit: "memory.max",
    swap: ("memory.swap.max", "0"),
    usage: &["memory.current"],
    events: "memory.events",
};

/// Version 1 counts the buffers of sockets apart, and only where they have a limit.
const VERSION_1: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    swap: ("memory.swappiness", "0"),
    usage: &["memory.usage_in_bytes", SOCKETS_1],
    events: "memory.oom_control",
};

const SOCKETS_1: &str = "memory.kmem.tcp.usage_in_bytes";
const SOCKETS_LIMIT_1: &str = "memory.kmem.tcp.limit_in_bytes";

impl MemoryGroup {
    /// Creates a group with a limit in bytes.
    pub(crate) fn new(limit: u64) -> Result<Self> {
        let root = Path::new(ROOT);
        let controllers = fs::read_to_string(root.join("cgroup.controllers"));
        let is_2 = controllers.is_ok_and(|all| all.split_whitespace().any(|it| it == "memory"));
        let (root, files) = if is_2 {
            (root.to_owned(), &VERSION_2)
        } else {
            (root.join("memory"), &VERSION_1)
        };
        let folder = root.join(format!("livecluster-bench-{}", std::process::id()));
        fs::create_dir(&folder)
            .with_context(|| format!("create the control group {}", folder.display()))?;
        let group = Self { folder, files };
        group.write(files.limit, &limit.to_string())?;
        let (swap, none) = files.swap;
        // Absent where the kernel has no swap.
        drop(group.write(swap, none));
        if !is_2 {
            group.write(SOCKETS_LIMIT_1, &(1_u64 << 40).to_string())?;
        }
        Ok(group)
    }

    /// Returns a command that starts a program in the group.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    /// Returns the bytes in use, and those of sockets among them where they are counted apart.
    pub(crate) fn usage(&self) -> Result<(u64, Option<u64>)> {
        let files = self.files.usage.iter();
        let usage: Vec<u64> = files.map(|file| self.number(file)).collect::<Result<_>>()?;
        Ok((usage.iter().sum(), usage.get(1).copied()))
    }

    /// Returns how many processes the kernel has killed because of the limit.
    pub(crate) fn kills(&self) -> Result<u64> {
        let events = self.read(self.files.events)?;
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        Ok(kills.context("no oom_kill")?.trim().parse()?)
    }

    fn number(&self, file: &str) -> Result<u64> {
        Ok(self.read(file)?.trim().parse()?)
    }

    fn read(&self, file: &str) -> Result<String> {
        let file = self.folder.join(file);
        fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let file = self.folder.join(file);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.folder));
    }
}
