//! Schedules that lead straight to what is rare by chance: takeovers, standbys, lost paths, silent origins, ends of publications, splits.

use std::time::Duration;

use rand::RngExt;

use super::super::{EncoderEnd, ScheduledAction};
use super::Plan;
use super::failures::{FAILOVER, RETRIED};
use crate::explorer::media::{GROUP, RATE};

/// The longest time from the end of an outage until all messages come again.
const RETURNED: Duration = Duration::from_millis(1500);

impl Plan<'_> {
    /// Adds encoders that start shortly after each other, on any media nodes.
    pub(super) fn add_takeovers(&mut self) {
        let limit = self.end() - 3000;
        let mut at = self.number(500, 1500);
        while at < limit {
            let node = self.node();
            let is_same_encoding = self.chance(0.3);
            let encoder = self.add_encoder(at, 0, node, is_same_encoding);
            let lasts = if self.chance(0.3) {
                self.number(10, 600)
            } else {
                self.number(600, 4500)
            };
            match self.number(0, 8) {
                0..2 => self.at(
                    at + lasts,
                    ScheduledAction::EndEncoder(encoder, EncoderEnd::Finish),
                ),
                2 => self.at(
                    at + lasts,
                    ScheduledAction::EndEncoder(encoder, EncoderEnd::Crash),
                ),
                // The next one takes over.
                _ => {}
            }
            at += lasts
                + if self.chance(0.3) {
                    self.number(0, 4000)
                } else {
                    0
                };
        }
    }

    /// Adds encoders that stand by for each other for long enough to prefer the best one.
    pub(super) fn add_standbys(&mut self) {
        for _ in 0..self.number(2, 5) {
            let at = self.number(500, 6000);
            let node = self.node();
            let encoder = self.add_encoder(at, 0, node, false);
            let end = self.number(8000, 24_000);
            match self.number(0, 6) {
                0 => self.at(
                    end,
                    ScheduledAction::EndEncoder(encoder, EncoderEnd::Finish),
                ),
                1 => self.at(end, ScheduledAction::EndEncoder(encoder, EncoderEnd::Crash)),
                _ => {}
            }
        }
    }

    /// Adds an encoder on an edge, and failures of the paths of its stream, or of the origin that has it.
    pub(super) fn add_path_failures(&mut self) {
        let edge = self.edge();
        let start = self.number(500, 1500);
        self.add_encoder(start, 0, edge, false);
        let limit = self.end() - 4000;
        let mut at = start + self.number(1200, 3000);
        // The origin that the edge has forwarded to last.
        let mut carrier = 0;
        while at < limit {
            let lasts = self.outage().min(limit + 2000 - at);
            let after = at + lasts;
            let origin = self.carriers[carrier];
            let outage = Duration::from_millis(lasts) + RETRIED;
            let is_only = self.settings.origins == 1;
            let kinds = if self.failing.is_empty() { 3 } else { 5 };
            match self.number(0, kinds) {
                // The edge of viewers has no other way to the stream.
                0 | 1 => {
                    let other = self.edge();
                    self.cut(origin, other, at, after);
                    if other == edge {
                        self.path_of_encoder_fails(outage, is_only);
                    } else {
                        self.outages.add(other, outage);
                        self.may_lose(lasts);
                    }
                }
                2 => {
                    self.cut(origin, edge, at, after);
                    self.path_of_encoder_fails(outage, is_only);
                }
                kind => {
                    match kind {
                        3 => self.add_isolation(origin, at, after),
                        _ => {
                            self.at(at, ScheduledAction::Hang(origin));
                            self.at(after, ScheduledAction::Resume(origin));
                        }
                    }
                    self.path_of_encoder_fails(outage, is_only);
                }
            }
            if is_only {
                self.may_lose(lasts);
            } else if lasts > 600 {
                // It stays with the next one.
                carrier = 1 - carrier;
            }
            at = after + self.number(2500, 5000);
        }
    }

    /// Returns how long a path fails, in milliseconds: often about as long as a limit of the relays, or as a window.
    fn outage(&mut self) -> u64 {
        match self.number(0, 10) {
            0..3 => self.number(200, 1000),
            3..6 => self.number(1000, 3000),
            6..8 => self.number(3000, 5000),
            _ if self.settings.window_seconds > 4 => self.number(5000, 7000),
            _ => self.number(3400, 6000),
        }
    }

    /// Notes that all media nodes but that of the encoder may wait: for another origin, or for the only one.
    fn path_of_encoder_fails(&mut self, outage: Duration, is_only: bool) {
        let outage = if is_only { outage } else { FAILOVER };
        for node in 0..self.nodes() {
            self.outages.add(node, outage);
        }
    }

    /// Notes that viewers lose what the window does not hold any more after an outage.
    fn may_lose(&mut self, lasts: u64) {
        let outage = Duration::from_millis(lasts) + RETURNED;
        let window = Duration::from_secs(self.settings.window_seconds.into());
        // A relay continues at a keyframe in nine tenths of the window.
        let held = window * 9 / 10;
        if outage > held {
            let lost = (outage - held + GROUP).as_millis() * u128::from(2 * RATE) / 1000;
            self.outages.lost += u32::try_from(lost).unwrap_or(u32::MAX);
        }
    }

    /// Adds publications, each on any edge, at whose end the origin that has it fails, or cannot be reached. The next one waits until it
    /// can again, as viewers do not return to a former one.
    pub(super) fn add_tails(&mut self) {
        let limit = self.end() - 1000;
        let mut at = self.number(500, 1000);
        let mut carrier = 0;
        while at + 4000 < limit {
            let (edge, other) = (self.edge(), self.edge());
            let is_same_encoding = self.chance(0.5);
            let encoder = self.add_encoder(at, 0, edge, is_same_encoding);
            let end = at + self.number(2500, 4500);
            self.at(
                end,
                ScheduledAction::EndEncoder(encoder, EncoderEnd::Finish),
            );
            let origin = self.carriers[carrier];
            let fails = end - self.number(100, 700);
            let after = end + self.number(700, 1800);
            let kinds = if self.failing.is_empty() { 3 } else { 6 };
            match self.number(0, kinds) {
                0 | 1 => self.cut(origin, other, fails, after),
                2 => self.cut(origin, edge, fails, after),
                3 => self.add_isolation(origin, fails, after),
                4 => {
                    self.at(fails, ScheduledAction::Hang(origin));
                    self.at(after, ScheduledAction::Resume(origin));
                }
                // A publication that its edge has forwarded ends with the origin.
                _ if self.settings.origins > 1 => {
                    self.at(fails, ScheduledAction::Kill(origin));
                    let new_address = false;
                    self.at(
                        after,
                        ScheduledAction::Start {
                            node: origin,
                            new_address,
                        },
                    );
                }
                _ => {}
            }
            if self.settings.origins > 1 && self.chance(0.5) {
                carrier = 1 - carrier;
            }
            let outage = Duration::from_millis(after - fails) + RETRIED;
            for node in 0..self.nodes() {
                self.outages.add(node, outage);
            }
            at = after + self.number(1800, 3000);
        }
    }

    pub(super) fn edge(&mut self) -> usize {
        let edges = self.settings.origins..self.nodes();
        self.random.random_range(edges)
    }
}
