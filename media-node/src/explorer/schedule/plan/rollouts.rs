//! Rolling updates: media nodes that are replaced, or restarted where they have no name, one after another.

use super::super::ScheduledAction;
use super::Plan;
use super::failures::FAILOVER;

impl Plan<'_> {
    /// Lets others take the places of the first `nodes` media nodes, origins first, each when the one before is ready.
    pub(super) fn add_rollout(&mut self, nodes: usize) {
        let mut at = self.number(3000, 6000);
        for node in 0..nodes {
            if self.settings.has_dns {
                self.at(at, ScheduledAction::Replace(node));
                at += self.number(3000, 8000);
            } else {
                let after = at + DRAINED;
                self.add_restart(ScheduledAction::Drain(node), node, at, after);
                at = after + self.number(1000, 3000);
            }
        }
        for node in 0..self.nodes() {
            self.outages.add(node, FAILOVER);
        }
    }
}

/// Milliseconds until a media node has drained and its process is over.
const DRAINED: u64 = 7500;
