//! Further failures, in some of the schedules: firewalls that forget connections, names with old addresses or none, RTMP servers that
//! fail, encoders that hang while others stand by, media nodes whose hosts are busy.

use std::time::Duration;

use rand::RngExt;

use super::super::{EncoderEnd, Hardship, Place, ScheduledAction};
use super::Plan;
use super::failures::{FAILOVER, RETRIED};
use crate::host::simulated::network::DnsState;

impl Plan<'_> {
    pub(super) fn add_further_failures(&mut self) {
        let hardship = self.hardship;
        match hardship {
            Hardship::OneOrigin if self.chance(0.5) => self.add_busy_origin(),
            Hardship::OneOrigin | Hardship::Tail => self.add_firewall(),
            Hardship::RtmpServerFails => self.add_failures_of_server(),
            Hardship::Calm | Hardship::Takeovers => self.add_wrong_dns(DnsState::Empty),
            Hardship::Standbys => self.add_hanging_encoder(),
            Hardship::Failures => {
                if self.chance(0.6) {
                    self.add_firewalls();
                }
                if self.chance(0.4) {
                    let (at, node) = (self.number(1000, 20_000), self.node());
                    let lasts = self.number(1000, 6000);
                    self.add_busy_host(node, at, at + lasts);
                }
                let wrong = self.one_of(&[DnsState::Outdated, DnsState::Outdated, DnsState::Empty]);
                if self.settings.has_dns && self.chance(0.6) {
                    self.add_wrong_dns(wrong);
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

    /// Lets the host of an origin be busy before one of them fails.
    fn add_busy_origin(&mut self) {
        let (at, origin) = (self.number(1000, 2500), self.origin());
        if !self.failing.contains(&origin) {
            return;
        }
        self.add_busy_host(origin, at, 3500);
        for node in 0..self.nodes() {
            self.outages.add(node, FAILOVER + RETRIED);
        }
    }

    /// Lets a media node run only now and then, as on a host with too few cores.
    fn add_busy_host(&mut self, node: usize, mut at: u64, end: u64) {
        while at < end {
            let after = at + self.number(50, 900);
            self.at(at, ScheduledAction::Hang(node));
            self.at(after, ScheduledAction::Resume(node));
            at = after + self.number(20, 500);
        }
    }

    /// Lets the name servers answer wrongly for some seconds.
    fn add_wrong_dns(&mut self, wrong: DnsState) {
        let latest = self.end() - 5000;
        let at = self.number(1000, latest);
        let after = at + self.number(1000, 9000);
        self.at(at, ScheduledAction::Dns(wrong));
        self.at(after, ScheduledAction::Dns(DnsState::Answers));
    }

    /// Lets an encoder hang, whose place another one takes that stands by.
    fn add_hanging_encoder(&mut self) {
        let last = u64::try_from(self.encoders).unwrap_or(u64::MAX);
        let encoder = usize::try_from(self.number(0, last)).unwrap_or_default();
        let latest = self.end() - 1000;
        let at = self.number(8000, latest);
        let hangs = ScheduledAction::EndEncoder(encoder, EncoderEnd::Freeze);
        self.at(at, hangs);
        let outage = if self.has_other_encoder(encoder, at) {
            HANGS
        } else {
            // Until it is given up, who joins gets its last group of pictures.
            HANGS + Duration::from_secs(self.settings.publish_idle_timeout_seconds.into())
        };
        for node in 0..self.nodes() {
            self.outages.add(node, outage);
        }
    }

    /// Returns whether another encoder is there when one hangs, and stays until it has its place.
    fn has_other_encoder(&self, hanging: usize, at: u64) -> bool {
        let at = Duration::from_millis(at);
        let has_ended = |encoder| {
            self.events.iter().any(|event| match event.action {
                ScheduledAction::EndEncoder(ended, _) => ended == encoder && event.at <= at + HANGS,
                _ => false,
            })
        };
        self.events.iter().any(|event| match event.action {
            ScheduledAction::Publish { encoder, .. } => {
                encoder != hanging && event.at < at && !has_ended(encoder)
            }
            _ => false,
        })
    }

    /// Lets the RTMP server fail, or the paths to it. Where others play from edges, one of these or their origin.
    fn add_failures_of_server(&mut self) {
        let limit = self.end() - 4000;
        let mut at = self.number(1000, 6000);
        while at < limit {
            let after = at + self.number(100, 6000);
            let server = if self.settings.further_edges > 0 {
                self.random
                    .random_range(0..self.settings.origins + self.settings.edges)
            } else {
                0
            };
            match self.number(0, 8) {
                0 => self.add_restart(ScheduledAction::Kill(server), server, at, after),
                1 => self.add_restart(ScheduledAction::Lose(server), server, at, after),
                2 => self.add_restart(ScheduledAction::Drain(server), server, at, after + 3000),
                3 => {
                    self.at(at, ScheduledAction::Hang(server));
                    self.at(after, ScheduledAction::Resume(server));
                }
                4 => self.add_isolation(server, at, after),
                5 => self.at(at, ScheduledAction::Revoke(server)),
                6 => {
                    let edge = self.edge();
                    self.cut(server, edge, at, after);
                }
                _ => {
                    let edge = self.edge();
                    self.at(at, forget(server, Place::Node(edge)));
                }
            }
            at = after + self.number(1000, 6000);
        }
    }
}

/// How long viewers see nothing of an encoder that hangs, until another one has its place.
const HANGS: Duration = Duration::from_secs(3);

fn forget(node: usize, other: Place) -> ScheduledAction {
    ScheduledAction::Forget(Place::Node(node), other)
}
