//! Narrow paths: between media nodes, and to viewers.

use std::time::Duration;

use rand::RngExt;

use super::super::{Place, ScheduledAction};
use super::Plan;
use super::failures::FAILOVER;
use crate::explorer::media::STREAM;

/// How long a media node that lacks messages may take longer over a narrow path: they come beside what is new.
const CAUGHT_UP: Duration = Duration::from_secs(2);

/// The same if the next origin gets all of the window, as nobody says what is needed: a viewer has just joined and got nothing yet, or the
/// media nodes that pull learn later than the encoder's that the origin drains.
const WINDOW: Duration = Duration::from_secs(9);

/// How long before a failure a viewer joins, and how long after it, who may not have got anything.
const JOINS: [u64; 2] = [2500, 10_000];

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
            let after = at + self.number(8000, 15_000);
            self.narrow_all(at, after, rate);
        }
        self.narrow_viewers();
        let mut at = self.number(5000, 9000);
        for carrier in self.carriers.clone() {
            let lasts = self.number(200, 5000);
            self.fail_carrier(carrier, at, at + lasts);
            at += lasts + self.number(6000, 9000);
            if at > 18_000 {
                return;
            }
        }
    }

    fn fail_carrier(&mut self, carrier: usize, at: u64, after: u64) {
        let mut outage = FAILOVER + CAUGHT_UP;
        match self.number(0, 6) {
            0 | 1 => self.restart(ScheduledAction::Kill(carrier), carrier, at, after),
            2 => self.restart(ScheduledAction::Lose(carrier), carrier, at, after),
            3 => {
                self.restart(ScheduledAction::Drain(carrier), carrier, at, after + 7500);
                outage += WINDOW;
            }
            4 => {
                self.at(at, ScheduledAction::Hang(carrier));
                self.at(after, ScheduledAction::Resume(carrier));
            }
            _ => self.add_isolation(carrier, at, after),
        }
        if self.has_joining_viewer(at) {
            outage += WINDOW;
        }
        for node in 0..self.nodes() {
            self.outages.add(node, outage);
        }
    }

    fn has_joining_viewer(&self, failure: u64) -> bool {
        let [before, after] = JOINS.map(Duration::from_millis);
        let failure = Duration::from_millis(failure);
        self.events.iter().any(|event| {
            let is_watch = matches!(event.action, ScheduledAction::Watch { .. });
            is_watch && event.at + before > failure && event.at < failure + after
        })
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
