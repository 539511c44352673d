//! Narrow paths: between media nodes, and to viewers.

use std::time::Duration;

use rand::RngExt;

use super::super::{Place, ScheduledAction};
use super::Plan;
use super::failures::FAILOVER;
use crate::explorer::media::STREAM;

/// How long a media node that lacks messages may take longer over a narrow path: they come beside what is new.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// The same if the next origin gets all of the window, as it is not known soon what is needed: some media nodes that pull learn of the failure
/// later than that of the encoder, or have had viewers who left, or who have got nothing yet.
const WINDOW: Duration = Duration::from_secs(9);

/// The time of a packet on its way to media nodes that say too late what they need.
const DISTANT: Duration = Duration::from_millis(40);

impl Plan<'_> {
    /// Adds an encoder on an edge, paths between media nodes with room for hardly more than its stream, and failures of the origin that has it.
    pub(super) fn add_narrow_paths(&mut self) {
        let edge = self.edge();
        let start = self.number(500, 1500);
        self.add_encoder(start, 0, edge, false);
        let rate = self.narrow_rate();
        if self.chance(0.5) {
            self.narrow_all(0, self.end(), rate);
        } else {
            let at = self.number(2000, 8000);
            let after = at + self.number(12_000, 17_000);
            self.narrow_all(at, after, rate);
        }
        self.narrow_viewers();
        let only_kills = self.chance(0.5);
        if only_kills {
            self.let_viewers_stay();
        }
        // The log is as long as a window by then.
        let mut at = self.number(9000, 12_000);
        for carrier in self.carriers.clone() {
            let after = at + self.number(200, 5000);
            if only_kills {
                self.restart(ScheduledAction::Kill(carrier), carrier, at, after);
            } else {
                self.fail_carrier(carrier, at, after);
            }
            at = after + self.number(6000, 9000);
            if at > 19_000 {
                break;
            }
        }
        // All learn at once that a process is gone, and say what they need, unless they are distant.
        let is_needed_known = only_kills && self.settings.latency < DISTANT;
        let window = if is_needed_known {
            Duration::ZERO
        } else {
            WINDOW
        };
        for node in 0..self.nodes() {
            self.outages.add(node, FAILOVER + CAUGHT_UP + window);
        }
    }

    /// Lets all viewers join some time before the first failure, and stay.
    fn let_viewers_stay(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| !matches!(event.action, ScheduledAction::Leave(_)));
        for event in &mut events {
            if let ScheduledAction::Watch { .. } = event.action {
                event.at = event.at.min(Duration::from_millis(self.number(2000, 6000)));
            }
        }
        self.events = events;
    }

    fn fail_carrier(&mut self, carrier: usize, at: u64, after: u64) {
        match self.number(0, 5) {
            0 => self.restart(ScheduledAction::Kill(carrier), carrier, at, after),
            1 => self.restart(ScheduledAction::Lose(carrier), carrier, at, after),
            2 => self.restart(ScheduledAction::Drain(carrier), carrier, at, after + 7500),
            3 => {
                self.at(at, ScheduledAction::Hang(carrier));
                self.at(after, ScheduledAction::Resume(carrier));
            }
            _ => self.add_isolation(carrier, at, after),
        }
    }

    /// Ends a media node, which starts again with the same address: its paths stay what they are.
    fn restart(&mut self, end: ScheduledAction, node: usize, at: u64, after: u64) {
        let new_address = false;
        self.at(at, end);
        self.at(after, ScheduledAction::Start { node, new_address });
    }

    /// Lets some paths be narrow for a while, whatever else happens.
    pub(super) fn narrow_some(&mut self) {
        for _ in 0..self.number(1, 4) {
            let (at, lasts) = (self.number(0, 12_000), self.number(1000, 15_000));
            let (one, other, rate) = (self.node(), self.node(), self.narrow_rate());
            self.narrow_path(one, other, at, at + lasts, rate);
        }
        self.narrow_viewers();
    }

    fn narrow_all(&mut self, at: u64, after: u64, rate: u32) {
        for one in 0..self.nodes() {
            for other in 0..one {
                self.narrow_path(one, other, at, after, rate);
            }
        }
    }

    fn narrow_path(&mut self, one: usize, other: usize, at: u64, after: u64, rate: u32) {
        let (one, other) = (Place::Node(one), Place::Node(other));
        self.at(at, ScheduledAction::Narrow(one, other, Some(rate)));
        self.at(after, ScheduledAction::Narrow(one, other, None));
    }

    /// Lets some viewers have narrow paths.
    fn narrow_viewers(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in &mut events {
            if let ScheduledAction::Watch { settings, .. } = &mut event.action
                && self.chance(0.3)
            {
                settings.room.bytes_per_second = Some(self.narrow_rate());
            }
        }
        self.events = events;
    }

    /// Returns the rate of a path with room for 1.2 to 2 times a stream, in bytes a second.
    fn narrow_rate(&mut self) -> u32 {
        STREAM * self.random.random_range(12..=20) / 10
    }
}
