//! Media nodes whose places others have taken, as a rolling update does: they drain beside them.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{NodeProcess, SimulatedCluster};

/// Time from the end of a media node's process until nothing has its address any more.
const REMOVED: Duration = Duration::from_secs(1);

/// A media node in whose place is another one.
pub(super) struct ReplacedNode {
    pub(super) address: Ipv4Addr,
    process: Option<NodeProcess>,
    /// When its address is gone.
    removal: Duration,
}

impl SimulatedCluster {
    /// Starts another media node in the place of one, with an address of its own. If `drains`, the former one drains from then on. Clients
    /// and DNS know only the new one.
    pub(in super::super) fn replace(&mut self, number: usize, drains: bool) {
        let former = self.nodes[number].process.take();
        if drains && let Some(former) = &former {
            former.drain.cancel();
        }
        self.replaced.push(ReplacedNode {
            address: self.nodes[number].address,
            process: former,
            removal: self.network.now(),
        });
        self.change_address(number);
        self.start(number);
    }

    /// Returns how many media nodes still run that were replaced.
    pub(in super::super) fn draining(&self) -> usize {
        let running = self.replaced.iter().filter(|it| it.process.is_some());
        running.count()
    }

    /// Lets the replaced media nodes run until `now` to which something happens.
    pub(super) fn run_replaced(&mut self, now: Duration, is_due: impl Fn(Ipv4Addr) -> bool) {
        for node in &mut self.replaced {
            let Some(process) = node.process.as_ref().filter(|_| is_due(node.address)) else {
                continue;
            };
            process.runtime.run_until(now);
            if process.task.is_finished() {
                self.ended.extend(node.process.take().map(|it| it.probe));
                node.removal = now + REMOVED;
            }
        }
        let network = &self.network;
        self.replaced.retain(|node| {
            let is_gone = node.process.is_none() && node.removal <= now;
            if is_gone {
                network.remove_host(node.address);
            }
            !is_gone
        });
    }
}
