//! Bytes that the kernel may hold unsent for a viewer. In a container they are a part of its memory, so all viewers together have a
//! budget: when a network fails, they become slow at the same time.

use media_engine::Registry;

/// Without a limit a slow viewer fills `tcp_wmem` (4 MiB and more) before the media node sees that it is slow, and then plays
/// seconds behind.
const MAX: usize = 128 * 1024;

/// The kernel asks for more when half of it is sent. Less would be many small writes.
const MIN: usize = 16 * 1024;

/// The memory for media is so many times the budget.
const SHARE: usize = 4;

/// Returns the limit of each viewer now.
pub(crate) fn limit(registry: &Registry) -> u32 {
    of_each(registry.memory().limit, registry.viewers())
}

/// Returns a power of two, so that the limit changes rarely.
fn of_each(media_memory: usize, viewers: usize) -> u32 {
    let each = (media_memory / SHARE / viewers.max(1)).clamp(MIN, MAX);
    1 << each.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_share_a_budget() {
        let memory = 341 << 20;
        assert_eq!(of_each(memory, 0), 128 << 10);
        assert_eq!(of_each(memory, 600), 128 << 10);
        assert_eq!(of_each(memory, 1_500), 32 << 10);
        assert_eq!(of_each(memory, 5_000), 16 << 10);
        assert_eq!(of_each(memory, usize::MAX), 16 << 10);
        assert_eq!(of_each(usize::MAX, 100_000), 128 << 10);
    }
}
