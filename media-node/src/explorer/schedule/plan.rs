//! The events of a schedule.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{
    Action, EncoderEnd, EncoderSettings, Event, Hardship, Place, Protocol, STORM, Settings,
    ViewerSettings,
};
use crate::host::simulated::network::DnsState;

/// The first milliseconds, in which media nodes start.
const CALM_START: u64 = 500;

/// The timestamps that encoders begin with: most with zero, some just before a field or a timeline is at its end.
const FIRST_TIMESTAMPS: [u32; 8] = [
    0,
    0,
    0,
    // Chunks have a longer header from here on.
    (1 << 24) - 3000,
    // A log begins its timestamps again.
    (1 << 30) - 3000,
    (1 << 31) - (1 << 22) - 3000,
    (1 << 31) - 3000,
    u32::MAX - 3000,
];

/// How far clocks are ahead after a jump.
const CLOCK_JUMPS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(7),
    Duration::from_secs(3600),
];

/// A schedule in the making.
struct Plan<'a> {
    random: StdRng,
    settings: &'a Settings,
    hardship: Hardship,
    events: Vec<Event>,
    encoders: usize,
    viewers: usize,
}

/// Returns what happens to a cluster, sorted by time.
pub(super) fn plan(random: StdRng, settings: &Settings, hardship: Hardship) -> Vec<Event> {
    let mut plan = Plan {
        random,
        settings,
        hardship,
        events: Vec::new(),
        encoders: 0,
        viewers: 0,
    };
    plan.add_encoders();
    plan.add_viewers();
    plan.add_clock();
    match hardship {
        Hardship::Calm => {}
        Hardship::OneOrigin => plan.add_failure_of_origin(),
        Hardship::Failures => {
            for _ in 0..plan.number(1, 7) {
                plan.add_failure();
            }
        }
    }
    let mut events = plan.events;
    events.sort_by_key(|event| event.at);
    events
}

impl Plan<'_> {
    fn nodes(&self) -> usize {
        self.settings.origins + self.settings.edges
    }

    fn at(&mut self, milliseconds: u64, action: Action) {
        let at = Duration::from_millis(milliseconds);
        self.events.push(Event { at, action });
    }

    fn number(&mut self, from: u64, to: u64) -> u64 {
        self.random.random_range(from..to)
    }

    fn node(&mut self) -> usize {
        let nodes = self.nodes();
        self.random.random_range(0..nodes)
    }

    /// Returns the media node of a client.
    fn node_of_client(&mut self) -> usize {
        match self.hardship {
            Hardship::OneOrigin => {
                let edges = self.settings.origins..self.nodes();
                self.random.random_range(edges)
            }
            Hardship::Calm | Hardship::Failures => self.node(),
        }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.random_range(0..choices.len())]
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    /// Adds for each stream encoders that follow each other, or take over from each other.
    fn add_encoders(&mut self) {
        for stream in 0..self.settings.streams {
            let mut at = self.number(CALM_START, 4000);
            let is_same_encoding = self.chance(0.5);
            let mut node = self.node_of_client();
            let limit = u64::try_from(STORM.as_millis()).unwrap_or_default();
            while at < limit {
                let encoder = self.encoders;
                self.encoders += 1;
                let settings = EncoderSettings {
                    is_same_encoding,
                    priority: self.random.random_range(0..3),
                    first_timestamp: self.one_of(&FIRST_TIMESTAMPS),
                };
                let publish = Action::Publish {
                    encoder,
                    stream,
                    node,
                    settings,
                };
                self.at(at, publish);
                let lasts = self.number(1500, 20_000);
                let ends = match self.number(0, 10) {
                    0..4 => Some(EncoderEnd::Finish),
                    4..6 => Some(EncoderEnd::Crash),
                    6 if self.hardship == Hardship::Failures => Some(EncoderEnd::Freeze),
                    // The next one takes over.
                    _ => None,
                };
                if let Some(end) = ends {
                    self.at(at + lasts, Action::EndEncoder(encoder, end));
                }
                let pause = match ends {
                    None => 0,
                    Some(_) => self.number(100, 4000),
                };
                at += lasts + pause;
                if self.chance(0.6) {
                    node = self.node_of_client();
                }
            }
        }
    }

    fn add_viewers(&mut self) {
        for _ in 0..self.number(2, 8) {
            let viewer = self.viewers;
            self.viewers += 1;
            let at = self.number(CALM_START, 20_000);
            let watch = Action::Watch {
                viewer,
                stream: self.random.random_range(0..self.settings.streams),
                node: self.node_of_client(),
                settings: self.viewer_settings(),
            };
            self.at(at, watch);
            if self.chance(0.3) {
                let leave = at + self.number(200, 15_000);
                self.at(leave, Action::Leave(viewer));
            }
        }
    }

    /// Lets a clock jump, which must never matter.
    fn add_clock(&mut self) {
        if self.chance(0.3) {
            let node = self.node();
            let (first, second) = (self.one_of(&CLOCK_JUMPS), self.one_of(&CLOCK_JUMPS));
            let (at, after) = (self.number(0, 12_000), self.number(12_000, 24_000));
            self.at(at, Action::SetClock(node, first));
            self.at(after, Action::SetClock(node, second));
        }
    }

    fn viewer_settings(&mut self) -> ViewerSettings {
        use Protocol::{Flv, Rtmp, WebSocket};
        let is_slow = self.hardship == Hardship::Failures && self.chance(0.2);
        ViewerSettings {
            protocol: self.one_of(&[Rtmp, Rtmp, Flv, Flv, WebSocket]),
            is_tls: self.chance(0.1),
            pause: match is_slow {
                true => Duration::from_millis(self.number(25, 80)),
                false => Duration::ZERO,
            },
            // Those of slow viewers hold less than a keyframe, others less than a group of pictures.
            capacity: match is_slow {
                true => self.one_of(&[512, 2 << 10]),
                false => self.one_of(&[4 << 10, 64 << 10]),
            },
        }
    }

    /// Adds a failure of one origin that lasts a few seconds.
    fn add_failure_of_origin(&mut self) {
        let origins = u64::try_from(self.settings.origins).unwrap_or_default();
        let node = usize::try_from(self.number(0, origins)).unwrap_or_default();
        let at = self.number(4000, 18_000);
        let after = at + self.number(100, 5000);
        match self.number(0, 6) {
            0 => self.add_restart(Action::Kill(node), node, at, after),
            1 => self.add_restart(Action::Lose(node), node, at, after),
            2 => self.add_restart(Action::Drain(node), node, at, after + 3000),
            3 => {
                self.at(at, Action::Hang(node));
                self.at(after, Action::Resume(node));
            }
            4 => self.add_isolation(node, at, after),
            _ => {
                let edge = Place::Node(self.node_of_client());
                self.at(at, Action::Cut(Place::Node(node), edge));
                self.at(after, Action::Mend(Place::Node(node), edge));
            }
        }
    }

    fn add_failure(&mut self) {
        let at = self.number(1000, 22_000);
        let after = at + self.number(100, 9000);
        let node = self.node();
        match self.number(0, 11) {
            0 | 1 => self.add_restart(Action::Kill(node), node, at, after),
            2 => self.add_restart(Action::Lose(node), node, at, after),
            3 => self.add_restart(Action::Drain(node), node, at, after + 3000),
            4 => {
                self.at(at, Action::Hang(node));
                self.at(after, Action::Resume(node));
            }
            5..8 => {
                let other = match self.node() {
                    other if other == node => Place::Clients,
                    other => Place::Node(other),
                };
                self.at(at, Action::Cut(Place::Node(node), other));
                self.at(after, Action::Mend(Place::Node(node), other));
            }
            8 => self.add_isolation(node, at, after),
            9 => self.at(at, Action::Revoke(node)),
            _ if self.chance(0.5) => {
                self.at(at, Action::Dns(DnsState::Silent));
                self.at(after, Action::Dns(DnsState::Answers));
            }
            _ => {
                let places = (Place::Node(node), Place::Node(self.node()));
                let delay = Duration::from_millis(self.number(50, 900));
                self.at(at, Action::Delay(places.0, places.1, delay));
                self.at(after, Action::Delay(places.0, places.1, Duration::ZERO));
            }
        }
    }

    /// Cuts a media node off from every other one, but not from the clients.
    fn add_isolation(&mut self, node: usize, at: u64, after: u64) {
        for other in 0..self.nodes() {
            let places = (Place::Node(node), Place::Node(other));
            self.at(at, Action::Cut(places.0, places.1));
            self.at(after, Action::Mend(places.0, places.1));
        }
    }

    fn add_restart(&mut self, end: Action, node: usize, at: u64, after: u64) {
        let new_address = self.settings.has_dns && self.chance(0.5);
        self.at(at, end);
        self.at(after, Action::Start { node, new_address });
    }
}
