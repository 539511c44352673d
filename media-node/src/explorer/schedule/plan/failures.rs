//! The failures of a schedule.

use std::time::Duration;

use rand::RngExt;

use super::super::{EncoderEnd, Place, ScheduledAction, Settings};
use super::Plan;
use crate::explorer::media::RATE;
use crate::host::simulated::network::DnsState;

/// How long a failure of one origin may hold back what viewers see, when their media nodes reach another one.
pub(super) const FAILOVER: Duration = Duration::from_secs(2);

/// The same after an outage between two media nodes: a packet is sent again late.
pub(super) const RETRIED: Duration = Duration::from_secs(3);

/// How late media nodes and what they send may be, besides the latency and the pulses.
const LATE: Duration = Duration::from_millis(100);

impl Plan<'_> {
    /// Adds failures of one origin after another.
    pub(super) fn add_failures_of_origins(&mut self) {
        let mut at = self.number(4000, 9000);
        for node in self.failing.clone() {
            if self.chance(0.5) {
                at = self.before_an_end(at);
            }
            let after = self.add_failure_of_origin(node, at);
            if self.chance(0.5) {
                let joins = at + self.number(0, 3000);
                self.add_viewer(joins);
            }
            at = after + self.number(4000, 8000);
            if at > 20_000 {
                return;
            }
        }
    }

    /// Returns a time shortly before the end of an encoder, if one ends soon after `at`.
    fn before_an_end(&mut self, at: u64) -> u64 {
        let ends = self.events.iter().filter_map(|event| match event.action {
            ScheduledAction::EndEncoder(_, EncoderEnd::Finish) => {
                u64::try_from(event.at.as_millis()).ok()
            }
            _ => None,
        });
        let end = ends
            .filter(|end| (at + 1000..at + 8000).contains(end))
            .min();
        let before = self.number(20, 1000);
        end.map_or(at, |end| end - before)
    }

    /// Adds a failure of one origin that lasts a few seconds. Returns when it ends.
    fn add_failure_of_origin(&mut self, node: usize, at: u64) -> u64 {
        let mut after = at + self.number(100, 8000);
        let mut outage = FAILOVER;
        match self.number(0, 6) {
            0 => self.add_restart(ScheduledAction::Kill(node), node, at, after),
            1 => self.add_restart(ScheduledAction::Lose(node), node, at, after),
            2 => self.add_restart(ScheduledAction::Drain(node), node, at, after + 3000),
            3 => {
                self.at(at, ScheduledAction::Hang(node));
                self.at(after, ScheduledAction::Resume(node));
            }
            4 => self.add_isolation(node, at, after),
            _ => {
                // Less than the window, which has to hold what viewers lack by then.
                after = at + self.number(100, 5000);
                let edge = self.edge();
                self.cut(node, edge, at, after);
                self.may_lose_ends(at, after);
                // The encoder's edge may reach the origin, and stay.
                outage = Duration::from_millis(after - at) + RETRIED;
            }
        }
        for node in 0..self.nodes() {
            self.outages.add(node, outage);
        }
        after
    }

    /// Notes that viewers lose the end of a publication that is over before their edge reaches its origin again. No other origin has that
    /// end, and the next publication may be at another one: they see it, and do not return to the former one.
    fn may_lose_ends(&mut self, at: u64, after: u64) {
        let Settings {
            latency,
            pulse_milliseconds,
            ..
        } = self.settings;
        // From the encoder's edge to the origin, and from there to the viewers' edge.
        let pulses = Duration::from_millis((2 * pulse_milliseconds).into());
        let on_the_way = 4 * *latency + pulses + LATE;
        let (at, after) = (Duration::from_millis(at), Duration::from_millis(after));
        for event in &self.events {
            let is_end = matches!(
                event.action,
                ScheduledAction::EndEncoder(_, EncoderEnd::Finish)
            );
            if is_end && event.at + on_the_way > at && event.at < after {
                let lost = event.at.saturating_sub(at) + on_the_way;
                let lost = lost.as_millis() * u128::from(2 * RATE) / 1000;
                self.outages.lost += u32::try_from(lost).unwrap_or(u32::MAX);
            }
        }
    }

    /// Cuts two origins off from each other, and lets each get an encoder of the same stream. One of them stays on air.
    pub(super) fn add_split(&mut self) {
        let one = self.origin();
        let other =
            (one + self.random.random_range(1..self.settings.origins)) % self.settings.origins;
        let stream = self.random.random_range(0..self.settings.streams);
        let latest = self.end() - 9000;
        let at = self.number(1000, latest);
        let first = at + self.number(100, 800);
        self.add_encoder(first, stream, one, false);
        let second = first + self.number(100, 4000);
        self.add_encoder(second, stream, other, false);
        let after = second + self.number(500, 4000);
        self.cut(one, other, at, after);
    }

    /// Lets the name servers be silent for some seconds, which matters to nothing that knows the origins.
    pub(super) fn add_silent_dns(&mut self) {
        let latest = self.end() - 5000;
        let at = self.number(1000, latest);
        let after = at + self.number(1000, 9000);
        self.at(at, ScheduledAction::Dns(DnsState::Silent));
        self.at(after, ScheduledAction::Dns(DnsState::Answers));
    }

    /// Adds any failure.
    pub(super) fn add_failure(&mut self) {
        let at = self.number(1000, 22_000);
        let after = at + self.number(100, 9000);
        let node = self.node();
        match self.number(0, 11) {
            0 | 1 => self.add_restart(ScheduledAction::Kill(node), node, at, after),
            2 => self.add_restart(ScheduledAction::Lose(node), node, at, after),
            3 => self.add_restart(ScheduledAction::Drain(node), node, at, after + 3000),
            4 => {
                self.at(at, ScheduledAction::Hang(node));
                self.at(after, ScheduledAction::Resume(node));
            }
            5..8 => {
                let other = match self.node() {
                    other if other == node => Place::Clients,
                    other => Place::Node(other),
                };
                self.at(at, ScheduledAction::Cut(Place::Node(node), other));
                self.at(after, ScheduledAction::Mend(Place::Node(node), other));
            }
            8 => self.add_isolation(node, at, after),
            9 => self.at(at, ScheduledAction::Revoke(node)),
            _ if self.chance(0.5) => {
                self.at(at, ScheduledAction::Dns(DnsState::Silent));
                self.at(after, ScheduledAction::Dns(DnsState::Answers));
            }
            _ => {
                let places = (Place::Node(node), Place::Node(self.node()));
                let delay = Duration::from_millis(self.number(50, 900));
                self.at(at, ScheduledAction::Delay(places.0, places.1, delay));
                self.at(
                    after,
                    ScheduledAction::Delay(places.0, places.1, Duration::ZERO),
                );
            }
        }
    }

    /// Cuts a media node off from every other one, but not from the clients.
    pub(super) fn add_isolation(&mut self, node: usize, at: u64, after: u64) {
        for other in 0..self.nodes() {
            let places = (Place::Node(node), Place::Node(other));
            self.at(at, ScheduledAction::Cut(places.0, places.1));
            self.at(after, ScheduledAction::Mend(places.0, places.1));
        }
    }

    pub(super) fn cut(&mut self, one: usize, other: usize, at: u64, after: u64) {
        let (one, other) = (Place::Node(one), Place::Node(other));
        self.at(at, ScheduledAction::Cut(one, other));
        self.at(after, ScheduledAction::Mend(one, other));
    }

    pub(super) fn add_restart(&mut self, end: ScheduledAction, node: usize, at: u64, after: u64) {
        let new_address = self.settings.has_dns && self.chance(0.5);
        self.at(at, end);
        self.at(after, ScheduledAction::Start { node, new_address });
    }
}
