//! Bytes that the kernel may hold for a connection. In a container they are a part of its memory, so all viewers together have a
//! budget, and all encoders another one: when a network fails or a worker has too much to do, their buffers fill at the same time.

use media_engine::Registry;

/// Each budget is the memory for media divided by this number.
const SHARE: usize = 4;

/// The maximum of what may be unsent for a viewer, in bytes. Without it a slow viewer would fill `tcp_wmem` (4 MiB and more) before the
/// media node notices that it is slow, and would then play seconds behind.
const MAX_UNSENT: usize = 128 * 1024;

/// The minimum, in bytes. The kernel reports a socket as writable when half of it is sent, so a lower limit would cause many small
/// writes.
const MIN_UNSENT: usize = 16 * 1024;

/// The maximum of what may be unsent of a page, in bytes. A client that sends requests and reads no response would fill `tcp_wmem`.
pub(crate) const MAX_UNSENT_PAGE: u32 = 32 * 1024;

/// From this share on, in bytes, an encoder's buffer is not limited: the kernel adapts it to the delay of the network within
/// `tcp_rmem`, and stops to do so once the buffer has a limit.
const UNLIMITED_UNREAD: usize = 1 << 20;

/// The minimum of what may be unread of an encoder, in bytes: enough for 4 Mbit/s with a round-trip time of 100 ms and the kernel's
/// overhead.
const MIN_UNREAD: usize = 128 * 1024;

/// Returns the limit of what is unsent for each viewer now.
pub(crate) fn unsent_limit(registry: &Registry) -> u32 {
    let budget = registry.memory().limit / SHARE;
    of_each(budget, registry.viewers(), MIN_UNSENT, MAX_UNSENT)
}

/// Returns the limit of what is unread of each encoder now, if it needs one.
pub(crate) fn unread_limit(registry: &Registry) -> Option<u32> {
    let memory = registry.memory();
    unread_of_each(memory.limit / SHARE, memory.publications)
}

fn unread_of_each(budget: usize, publications: usize) -> Option<u32> {
    let limit = of_each(budget, publications, MIN_UNREAD, UNLIMITED_UNREAD);
    ((limit as usize) < UNLIMITED_UNREAD).then_some(limit)
}

/// Returns a power of two, so that the limit changes rarely.
fn of_each(budget: usize, number: usize, min: usize, max: usize) -> u32 {
    let each = (budget / number.max(1)).clamp(min, max);
    1 << each.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = (341 << 20) / SHARE;

    #[test]
    fn viewers_share_a_budget() {
        let unsent = |budget, viewers| of_each(budget, viewers, MIN_UNSENT, MAX_UNSENT);
        assert_eq!(unsent(BUDGET, 0), 128 << 10);
        assert_eq!(unsent(BUDGET, 600), 128 << 10);
        assert_eq!(unsent(BUDGET, 1_500), 32 << 10);
        assert_eq!(unsent(BUDGET, 5_000), 16 << 10);
        assert_eq!(unsent(BUDGET, usize::MAX), 16 << 10);
        assert_eq!(unsent(usize::MAX, 100_000), 128 << 10);
    }

    #[test]
    fn encoders_share_a_budget() {
        assert_eq!(unread_of_each(BUDGET, 0), None);
        assert_eq!(unread_of_each(BUDGET, 80), None);
        assert_eq!(unread_of_each(BUDGET, 100), Some(512 << 10));
        assert_eq!(unread_of_each(BUDGET, 300), Some(256 << 10));
        assert_eq!(unread_of_each(BUDGET, 5_000), Some(128 << 10));
        assert_eq!(unread_of_each(usize::MAX, 1_000), None);
    }
}
