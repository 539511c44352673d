//! Variations of some of the schedules: packets that get lost in one direction only, viewers that join just when something happens,
//! viewers that stop reading for a while, and media nodes that have too little memory for their windows for a while.

use std::time::Duration;

use super::super::{Hardship, ScheduledAction};
use super::{CALM_START, Plan};

impl Plan<'_> {
    pub(super) fn vary(&mut self) {
        self.cut_one_way();
        self.add_viewers_when_something_happens();
        if self.hardship.disturbs() {
            self.let_viewers_rest();
        }
    }

    /// Lets packets of one direction arrive on the paths that are cut, most of them.
    fn cut_one_way(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in &mut events {
            let ScheduledAction::Cut(one, other) = event.action else {
                continue;
            };
            event.action = match self.number(0, 5) {
                0 => continue,
                1 | 2 => ScheduledAction::CutOneWay(one, other),
                _ => ScheduledAction::CutOneWay(other, one),
            };
        }
        self.events = events;
    }

    fn add_viewers_when_something_happens(&mut self) {
        let latest = self.end() - 5000;
        let times = self.events.iter().filter_map(|event| {
            let is_of_viewer = matches!(
                event.action,
                ScheduledAction::Watch { .. } | ScheduledAction::Leave(_)
            );
            let at = u64::try_from(event.at.as_millis()).ok()?;
            let is_early = (CALM_START..latest).contains(&at);
            (is_early && !is_of_viewer).then_some(at)
        });
        let times: Vec<u64> = times.collect();
        if times.is_empty() {
            return;
        }
        for _ in 0..self.number(1, 5) {
            let at = self.one_of(&times) + self.number(0, 1500);
            self.add_viewer(at);
        }
    }

    /// Lets a media node have too little memory for windows for a while, but enough for groups of pictures. It accepts no stream meanwhile.
    pub(super) fn add_short_memory(&mut self) {
        if self.hardship != Hardship::Failures {
            return;
        }
        let (at, node) = (self.number(3000, 15_000), self.node());
        let after = at + self.number(2000, 9000);
        let bytes = self.one_of(&[64 << 10, 128 << 10]);
        self.at(at, ScheduledAction::LimitMemory(node, Some(bytes)));
        self.at(after, ScheduledAction::LimitMemory(node, None));
    }

    /// Lets some viewers stop reading once, for up to about as long as a window, as a browser does with a player in the background.
    fn let_viewers_rest(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in &mut events {
            if let ScheduledAction::Watch { settings, .. } = &mut event.action
                && self.chance(0.3)
            {
                settings.rest = Duration::from_millis(self.number(500, 11_000));
            }
        }
        self.events = events;
    }
}
