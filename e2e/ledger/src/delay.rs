//! Packets that take longer: the kernel hands those that arrive at a media node to a thread of the ledger, which lets them pass later. Unlike
//! a relay of connections it leaves TCP as it is. Kernels without netem can do it, too.

#[cfg_attr(not(target_os = "linux"), path = "delay/no_queue.rs")]
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// How long packets take. With jitter they overtake each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketDelay {
    pub(crate) least: Duration,
    /// The most that is added, at random.
    pub(crate) jitter: Duration,
}

/// The target of a packet filter's rule.
pub(crate) const QUEUE: &str = "NFQUEUE --queue-num 0";

/// Packets of one network that are delayed. When this is dropped, those that wait pass; further ones pass once no rule hands them over.
#[derive(Debug)]
pub(crate) struct DelayedPackets {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DelayedPackets {
    /// Delays what the rules of a network hand over.
    pub(crate) fn start(network: &str, delay: PacketDelay) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let network = network.to_owned();
        let (opened, open) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || match queue::open(&network) {
            Ok(queue) => {
                drop(opened.send(Ok(())));
                queue::pass_later(queue, delay, &stopped);
            }
            Err(error) => drop(opened.send(Err(error))),
        });
        open.recv().map_err(|_| anyhow!("the thread ended"))??;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for DelayedPackets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Only a panic fails, which has been printed.
            drop(thread.join());
        }
    }
}
