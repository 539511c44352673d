//! Further failures, in some of the schedules: firewalls that forget connections, names with old addresses, RTMP servers that fail.

use super::super::{Hardship, Place, ScheduledAction};
use super::Plan;
use super::failures::RETRIED;
use crate::host::simulated::network::DnsState;

impl Plan<'_> {
    pub(super) fn add_further_failures(&mut self) {
        match self.hardship {
            Hardship::OneOrigin | Hardship::Tail => self.add_firewall(),
            Hardship::RtmpServerFails => self.add_failures_of_server(),
            Hardship::Failures => {
                if self.chance(0.6) {
                    self.add_firewalls();
                }
                if self.settings.has_dns && self.chance(0.6) {
                    self.add_outdated_dns();
                }
            }
            _ => {}
        }
    }

    /// Lets the connections between two media nodes be forgotten once, which viewers have to bear.
    fn add_firewall(&mut self) {
        let end = self.end();
        let (at, node, other) = (self.number(1000, end), self.node(), self.node());
        self.at(at, forget(node, Place::Node(other)));
        for node in 0..self.nodes() {
            self.outages.add(node, self.outages.of(node) + RETRIED);
        }
    }

    /// Lets the connections between some hosts be forgotten.
    fn add_firewalls(&mut self) {
        let end = self.end();
        for _ in 0..self.number(1, 5) {
            let (at, node) = (self.number(1000, end), self.node());
            let other = match self.node() {
                other if other == node => Place::Clients,
                other => Place::Node(other),
            };
            self.at(at, forget(node, other));
        }
    }

    /// Lets the name servers answer with old addresses for some seconds.
    fn add_outdated_dns(&mut self) {
        let at = self.number(500, 18_000);
        let after = at + self.number(1000, 9000);
        self.at(at, ScheduledAction::Dns(DnsState::Outdated));
        self.at(after, ScheduledAction::Dns(DnsState::Answers));
    }

    /// Lets the RTMP server fail, or the paths to it.
    fn add_failures_of_server(&mut self) {
        let limit = self.end() - 4000;
        let mut at = self.number(1000, 6000);
        while at < limit {
            let after = at + self.number(100, 6000);
            match self.number(0, 8) {
                0 => self.add_restart(ScheduledAction::Kill(SERVER), SERVER, at, after),
                1 => self.add_restart(ScheduledAction::Lose(SERVER), SERVER, at, after),
                2 => self.add_restart(ScheduledAction::Drain(SERVER), SERVER, at, after + 3000),
                3 => {
                    self.at(at, ScheduledAction::Hang(SERVER));
                    self.at(after, ScheduledAction::Resume(SERVER));
                }
                4 => self.add_isolation(SERVER, at, after),
                5 => self.at(at, ScheduledAction::Revoke(SERVER)),
                6 => {
                    let edge = self.edge();
                    self.cut(SERVER, edge, at, after);
                }
                _ => {
                    let edge = self.edge();
                    self.at(at, forget(SERVER, Place::Node(edge)));
                }
            }
            at = after + self.number(1000, 6000);
        }
    }
}

/// The media node that the edges know as an RTMP server.
const SERVER: usize = 0;

fn forget(node: usize, other: Place) -> ScheduledAction {
    ScheduledAction::Forget(Place::Node(node), other)
}
