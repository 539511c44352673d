//! The memory for media: the configured amount, or a share of what the container may use.

use std::path::Path;
use std::time::Duration;

use media_config::Limits;
use media_engine::{EndedStream, MemoryStats, Registry};
use tracing::{info, warn};

use super::container_memory::{ContainerMemory, container_memory};
use super::ticks::ticks;
use crate::state::limits::CurrentLimits;
use crate::{host, small_file};

/// The smallest share: without it no stream could start.
const MIN: u64 = 16 << 20;

/// The number of readings of the container's memory after which media have regained all that they gave up.
const RECOVERY_READINGS: usize = 256;

/// The number of readings after which a peak has lost two thirds. It outlasts a long group of pictures.
const PEAK_LASTS: usize = 64;

/// The share where the amount of memory is unknown.
const UNKNOWN: u64 = 256 << 20;

/// Returns the memory for media, in bytes.
pub(super) fn media_memory(limits: &Limits) -> usize {
    media_memory_within(limits, container_memory(Path::new("/")))
}

fn media_memory_within(limits: &Limits, container: Option<ContainerMemory>) -> usize {
    let configured = limits.max_media_bytes();
    configured.unwrap_or_else(|| share(system_memory(Path::new("/")), container))
}

/// Reads every `period` the memory limit of the container, which Kubernetes can change while it runs, and the usage of the container.
pub(super) async fn follow(registry: Registry, limits: CurrentLimits, period: Duration) {
    let mut ticks = ticks(period);
    let mut concession = Concession::default();
    loop {
        ticks.tick().await;
        let (registry, limits) = (registry.clone(), limits.get());
        let follow = move || {
            let container = container_memory(Path::new("/"));
            let share = media_memory_within(&limits, container);
            concession.apply(&registry, share, container);
            concession
        };
        // A panic was printed by its thread. The next round begins anew.
        let followed = host::run_blocking(follow).await;
        concession = followed.unwrap_or_default();
    }
}

/// The bytes that media give up so that the container keeps within its limit. Beside media it has memory that is not counted exactly:
/// unused pages of the allocator, and the kernel's buffers of sockets.
#[derive(Clone, Copy, Debug, Default)]
struct Concession {
    bytes: usize,
    /// The most that media have used recently. The allocator keeps pages for it.
    peak: usize,
}

impl Concession {
    /// Sets the memory for media. While it is not enough, ends the largest streams until the groups of pictures of the others fit into
    /// `share`.
    fn apply(&mut self, registry: &Registry, share: usize, container: Option<ContainerMemory>) {
        let used = registry.memory().used;
        registry.limit_memory(self.update(share, used, container));
        let is_nearly_full = |it: ContainerMemory| it.usage > it.nearly_full();
        if !(registry.is_out_of_memory() || container.is_some_and(is_nearly_full)) {
            return;
        }
        for EndedStream { key, bytes, .. } in registry.end_largest(share) {
            warn!(
                stream = %key, bytes, limit = share,
                "stream ended: it needs the most of the memory for media, which is not enough for all; raise the memory limit, or set limits.maxPublishKbps"
            );
        }
    }

    /// Returns the memory for media, `share` at most. `used` is what they use. Call it for each reading.
    fn update(&mut self, share: usize, used: usize, container: Option<ContainerMemory>) -> usize {
        self.peak = used.max(self.peak - self.peak / PEAK_LASTS);
        if let Some(container @ ContainerMemory { usage, .. }) = container {
            let (low, high) = (container.has_room(), container.nearly_full());
            if usage > high {
                // In proportion: while encoders raise their bitrates, the allocator needs half as much again for the same media.
                let fitting = u128::from(high) * self.peak as u128 / u128::from(usage);
                let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
                self.bytes = self.bytes.max(share.saturating_sub(fitting));
            } else if usage < low {
                self.bytes = self.bytes.saturating_sub(share / RECOVERY_READINGS);
            }
        }
        self.bytes = self.bytes.min(share / 2);
        share - self.bytes
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

/// Returns the share of the available memory. A third of a container's limit is left for connections, the allocator's unused pages
/// and the program. Without a limit, other programs and Pods use the memory as well.
fn share(system: Option<u64>, container: Option<ContainerMemory>) -> usize {
    let is_limit = |limit: &u64| system.is_none_or(|system| *limit < system);
    let limit = container.map(|container| container.limit);
    let share = match (limit.filter(is_limit), system) {
        (Some(limit), _) => limit / 3 * 2,
        (None, Some(system)) => system / 4,
        (None, None) => UNKNOWN,
    };
    usize::try_from(share.max(MIN)).unwrap_or(usize::MAX)
}

fn system_memory(root: &Path) -> Option<u64> {
    let text = small_file::read_text(&root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use media_engine::{DuplicatePolicy, EngineSettings, Epoch, Publication, PublicationSource};
    use media_wire::{MediaKind, Message, StreamKey};

    use super::*;

    /// Returns the share in a system with these files.
    fn share_with(files: &[(&str, &str)]) -> usize {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        share(system_memory(root.path()), container_memory(root.path()))
    }

    const HOST: (&str, &str) = (
        "proc/meminfo",
        "MemFree: 1 kB\nMemTotal:       8388608 kB\n",
    );

    #[test]
    fn two_thirds_of_the_containers_limit_are_for_media() {
        let version_2 = share_with(&[
            HOST,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ]);
        assert_eq!(version_2, (512 << 20) / 3 * 2);
        let version_1 = share_with(&[
            HOST,
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
            HOST,
            ("proc/self/cgroup", "0::/../pods/a\n"),
            ("sys/fs/cgroup/pods/memory.max", "314572800\n"),
            ("sys/fs/cgroup/pods/a/memory.max", "max\n"),
        ]);
        assert_eq!(share, 200 << 20);
    }

    #[test]
    fn quarter_of_the_system_memory_is_for_media_without_a_limit() {
        let group = ("proc/self/cgroup", "0::/\n");
        let none = ("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(share_with(&[HOST, group, none]), 2 << 30);
        // Version 1 has a number for no limit.
        let group = ("proc/self/cgroup", "2:memory:/\n");
        let file = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let none = (file, "9223372036854771712");
        assert_eq!(share_with(&[HOST, group, none]), 2 << 30);
        assert_eq!(share_with(&[]), 256 << 20);
    }

    #[test]
    fn media_give_up_what_the_container_lacks_and_regain_it() {
        const MIB: usize = 1 << 20;
        let container = |mebibytes: u64| {
            Some(ContainerMemory {
                limit: 512 << 20,
                usage: mebibytes << 20,
            })
        };
        let (share, mut concession) = (340 * MIB, Concession::default());
        assert_eq!(concession.update(share, 0, None), share);
        for usage in [0, 400, 448] {
            assert_eq!(concession.update(share, 300 * MIB, container(usage)), share);
        }
        // As much above the bound as the peak of media is above what remains.
        assert_eq!(
            concession.update(share, 300 * MIB, container(480)),
            280 * MIB
        );
        // Media that are used less for a moment do not count: their pages are still there.
        let after = concession.update(share, 100 * MIB, container(450));
        assert_eq!(after, 280 * MIB);
        // Between the two bounds nothing changes.
        assert_eq!(concession.update(share, 0, container(420)), after);
        let regained = |_: &i32| concession.update(share, 0, container(380)) == share;
        let periods = (1..).find(regained);
        assert!((40..60).contains(&periods.unwrap()), "{periods:?}");
        for _ in 0..100 {
            assert!(concession.update(share, 0, container(512)) >= share / 2);
        }
        // The share can become smaller.
        assert_eq!(concession.update(20 * MIB, 0, container(512)), 10 * MIB);
    }

    #[test]
    fn streams_that_have_grown_end_when_the_container_is_nearly_full() {
        let registry = Registry::new(EngineSettings::default());
        let now = Instant::now();
        let mut publications = ["a", "b", "c"].map(|name| {
            let key = StreamKey::new(None, "live", name).unwrap();
            let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
            registry
                .publish(&key, Epoch(1), source, policy, now)
                .unwrap()
        });
        for (publication, mebibytes) in publications.iter_mut().zip([1, 2, 4]) {
            for number in 0..mebibytes {
                let mut payload = vec![0; 1 << 20];
                payload[..5].copy_from_slice(&[if number == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
                publication.append(Message {
                    kind: MediaKind::Video,
                    timestamp: number * 40,
                    payload: payload.into(),
                });
                publication.pulse(now + Duration::from_secs(1));
            }
        }
        let refused = |publications: &[Publication; 3]| {
            publications
                .each_ref()
                .map(|publication| publication.refused().is_some())
        };
        let (share, mut concession) = (4 << 20, Concession::default());
        let container = |usage| Some(ContainerMemory { limit: 100, usage });
        concession.apply(&registry, 16 << 20, container(99));
        concession.apply(&registry, 16 << 20, container(70));
        assert_eq!(refused(&publications), [false; 3]);
        concession.apply(&registry, share, container(89));
        assert_eq!(refused(&publications), [false, false, true]);
    }

    #[test]
    fn smallest_container_has_memory_for_some_streams() {
        let group = ("proc/self/cgroup", "0::/\n");
        let limit = ("sys/fs/cgroup/memory.max", "1000000");
        assert_eq!(share_with(&[HOST, group, limit]), 16 << 20);
    }
}
