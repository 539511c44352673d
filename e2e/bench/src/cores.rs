//! Cores: which one belongs to the server and which to the load, and how busy they and processes have been.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of the server and those of the load.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    load: Vec<usize>,
}

/// The cores that a program may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoreSet {
    Server,
    Load,
    /// Those of the server and of the load.
    All,
}

impl Cores {
    /// Gives the last core to the server and the others to this process.
    pub(crate) fn share() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("the cores of this process")?;
        let mut all: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|it| allowed.is_set(*it))
            .collect();
        let server = all.pop().context("no core")?;
        ensure!(
            !all.is_empty(),
            "the benchmark needs two cores: one for the server, one for the load"
        );
        let cores = Self { server, load: all };
        pin(&cores.load)?;
        Ok(cores)
    }

    /// How many cores the load has.
    pub(crate) fn of_load(&self) -> usize {
        self.load.len()
    }

    /// Starts a program on some of the cores.
    pub(crate) fn spawn(&self, on: CoreSet, command: &mut Command) -> Result<Child> {
        // A child inherits the cores of the thread that starts it.
        pin(&match on {
            CoreSet::Server => vec![self.server],
            CoreSet::Load => self.load.clone(),
            CoreSet::All => [&[self.server], self.load.as_slice()].concat(),
        })?;
        let child = command.spawn();
        pin(&self.load)?;
        child.with_context(|| format!("start {:?}", command.get_program()))
    }
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).context("choose the cores of this thread")
}

/// The use of the server's core over a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
    /// Time in which the core ran anything, interrupts included. The kernel counts it by ticks.
    pub(crate) core: Duration,
    /// Time in which the server's process ran, and interrupts that it caused itself. Exact. `None` for a process that is not known.
    pub(crate) process: Option<Duration>,
}

/// A measurement of the server's core that has begun.
#[derive(Debug)]
pub(crate) struct Meter {
    core: usize,
    process: Option<u32>,
    start: Instant,
    before: (Duration, Option<Duration>),
}

impl Meter {
    pub(crate) fn start(core: usize, process: Option<u32>) -> Result<Self> {
        Ok(Self {
            core,
            process,
            start: Instant::now(),
            before: busy(core, process)?,
        })
    }

    pub(crate) fn stop(&self) -> Result<Usage> {
        let elapsed = self.start.elapsed();
        let (core, process) = busy(self.core, self.process)?;
        let of_process = process.zip(self.before.1);
        Ok(Usage {
            elapsed,
            core: core.saturating_sub(self.before.0),
            process: of_process.map(|(after, before)| after.saturating_sub(before)),
        })
    }
}

fn busy(core: usize, process: Option<u32>) -> Result<(Duration, Option<Duration>)> {
    let process = process.map(busy_process).transpose()?;
    Ok((busy_core(core)?, process))
}

/// Time since the system's start in which a core was not idle: user, nice, system, irq and softirq of `/proc/stat`.
fn busy_core(core: usize) -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let line = line.with_context(|| format!("/proc/stat has no core {core}"))?;
    let ticks: Vec<u64> = line.split(' ').flat_map(str::parse).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks.as_slice() else {
        anyhow::bail!("/proc/stat has {line:?} for core {core}");
    };
    // Ticks are hundredths of a second in /proc on every Linux.
    Ok(Duration::from_millis(
        (user + nice + system + irq + softirq) * 10,
    ))
}

/// Time in which the threads of a process ran.
fn busy_process(process: u32) -> Result<Duration> {
    let mut busy = Duration::ZERO;
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.with_context(|| format!("process {process} has ended"))? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|it| it.parse().ok());
        busy += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(busy)
}

/// Returns how often a process has written to files and sockets.
pub(crate) fn writes(process: u32) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{process}/io"));
    let io = io.with_context(|| format!("process {process} has ended"))?;
    let writes = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    Ok(writes.context("no syscw in /proc")?.parse()?)
}

/// Returns the memory of a process that is its own, without files, in bytes.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.with_context(|| format!("process {process} has ended"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.context("no RssAnon in /proc")?.trim().parse()?;
    Ok(kibibytes << 10)
}
