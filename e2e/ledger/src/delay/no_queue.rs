//! Other kernels than Linux have no such queue. The ledger is compiled there for its rows on Kubernetes.

use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};

use super::PacketDelay;

pub(super) enum Queue {}

pub(super) fn open(_: &str) -> Result<Queue> {
    bail!("packets are delayed on Linux only")
}

pub(super) fn pass_later(queue: Queue, _: PacketDelay, _: &AtomicBool) {
    match queue {}
}
