//! A schedule: a cluster with its settings, and what happens to it and when. All of it follows from a seed.

use std::time::Duration;

use media_config::DuplicatePublish;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::host::simulated::network::DnsState;

/// What happens to one cluster.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) hardship: Hardship,
    pub(super) settings: Settings,
    /// Sorted by time.
    pub(super) events: Vec<Event>,
}

/// How much a cluster has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardship {
    /// Nothing fails: viewers lose nothing.
    Calm,
    /// Anything may fail.
    Failures,
}

/// The settings of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) origins: usize,
    pub(super) edges: usize,
    pub(super) streams: usize,
    /// The origins have the name of a Service, and a new one has a new address.
    pub(super) has_dns: bool,
    pub(super) time_to_live: Duration,
    pub(super) latency: Duration,
    /// How far the clocks of the hosts are from each other, at most.
    pub(super) skew: Duration,
    pub(super) duplicate_publish: DuplicatePublish,
    pub(super) publish_idle_timeout_seconds: u32,
    pub(super) play_wait_seconds: u32,
    pub(super) continuity_seconds: u32,
    pub(super) linger_seconds: u32,
    pub(super) window_seconds: u32,
    pub(super) pulse_milliseconds: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) action: Action,
}

/// A host of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(usize),
    Clients,
}

/// What happens. What does not apply, such as the start of what runs, does nothing.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The process of a media node is killed.
    Kill(usize),
    /// The host of a media node loses its power.
    Lose(usize),
    Drain(usize),
    Start {
        node: usize,
        new_address: bool,
    },
    /// The process of a media node stops, with its connections open.
    Hang(usize),
    Resume(usize),
    Cut(Place, Place),
    Mend(Place, Place),
    /// Packets take this much longer.
    Delay(Place, Place, Duration),
    Dns(DnsState),
    Publish {
        encoder: usize,
        stream: usize,
        node: usize,
        is_same_encoding: bool,
        /// Of encoders that stand by for each other.
        priority: u8,
    },
    EndEncoder(usize, EncoderEnd),
    Watch {
        viewer: usize,
        stream: usize,
        node: usize,
        protocol: Protocol,
        pause: Duration,
        capacity: usize,
    },
    Leave(usize),
}

/// How an encoder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EncoderEnd {
    /// It ends the stream.
    Finish,
    /// Its connection is closed.
    Crash,
    /// It sends nothing more, and keeps its connection open.
    Freeze,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtmp,
    Flv,
}

/// The time in which things happen. Afterwards everything is mended.
pub(super) const STORM: Duration = Duration::from_secs(25);

/// The first milliseconds, in which media nodes start.
const CALM_START: u64 = 500;

impl Settings {
    /// Returns whether encoders stand by for each other, so that one may be on air again.
    pub(super) fn has_standby(&self) -> bool {
        self.duplicate_publish == DuplicatePublish::Standby
    }
}

impl Schedule {
    /// Returns the schedule of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let hardship = match random.random_bool(0.15) {
            true => Hardship::Calm,
            false => Hardship::Failures,
        };
        let settings = settings(&mut random);
        let mut plan = Plan {
            random,
            settings: settings.clone(),
            hardship,
            events: Vec::new(),
            encoders: 0,
            viewers: 0,
        };
        plan.add_encoders();
        plan.add_viewers();
        if hardship == Hardship::Failures {
            for _ in 0..plan.random.random_range(1..=6) {
                plan.add_failure();
            }
        }
        let mut events = plan.events;
        events.sort_by_key(|event| event.at);
        Self {
            seed,
            hardship,
            settings,
            events,
        }
    }
}

fn settings(random: &mut StdRng) -> Settings {
    let mut one_of = |choices: &[u32]| choices[random.random_range(0..choices.len())];
    let milliseconds = |choice: u32| Duration::from_millis(choice.into());
    Settings {
        origins: one_of(&[1, 2, 2, 3]) as usize,
        edges: one_of(&[0, 1, 2, 2, 3]) as usize,
        streams: one_of(&[1, 1, 2]) as usize,
        has_dns: one_of(&[0, 1]) == 1,
        time_to_live: milliseconds(one_of(&[1000, 5000, 30_000])),
        latency: milliseconds(one_of(&[1, 5, 40])),
        skew: milliseconds(one_of(&[0, 0, 50, 5000])),
        duplicate_publish: match one_of(&[0, 0, 1, 2]) {
            1 => DuplicatePublish::Reject,
            2 => DuplicatePublish::Standby,
            _ => DuplicatePublish::Takeover,
        },
        publish_idle_timeout_seconds: one_of(&[3, 8]),
        play_wait_seconds: one_of(&[0, 3, 10]),
        continuity_seconds: one_of(&[1, 6, 12]),
        linger_seconds: one_of(&[0, 2, 8]),
        window_seconds: one_of(&[2, 10]),
        pulse_milliseconds: one_of(&[0, 0, 50, 350]),
    }
}

/// A schedule in the making.
struct Plan {
    random: StdRng,
    settings: Settings,
    hardship: Hardship,
    events: Vec<Event>,
    encoders: usize,
    viewers: usize,
}

impl Plan {
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

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    /// Adds for each stream encoders that follow each other, or take over from each other.
    fn add_encoders(&mut self) {
        for stream in 0..self.settings.streams {
            let mut at = self.number(CALM_START, 4000);
            let is_same_encoding = self.chance(0.5);
            let mut node = self.node();
            let limit = u64::try_from(STORM.as_millis()).unwrap_or_default();
            while at < limit {
                let encoder = self.encoders;
                self.encoders += 1;
                let publish = Action::Publish {
                    encoder,
                    stream,
                    node,
                    is_same_encoding,
                    priority: self.random.random_range(0..3),
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
                    node = self.node();
                }
            }
        }
    }

    fn add_viewers(&mut self) {
        for _ in 0..self.number(2, 8) {
            let viewer = self.viewers;
            self.viewers += 1;
            let at = self.number(CALM_START, 20_000);
            let is_slow = self.hardship == Hardship::Failures && self.chance(0.15);
            let watch = Action::Watch {
                viewer,
                stream: self.random.random_range(0..self.settings.streams),
                node: self.node(),
                protocol: match self.chance(0.5) {
                    true => Protocol::Rtmp,
                    false => Protocol::Flv,
                },
                pause: match is_slow {
                    true => Duration::from_millis(self.number(25, 80)),
                    false => Duration::ZERO,
                },
                capacity: match is_slow {
                    true => 2 << 10,
                    false => 64 << 10,
                },
            };
            self.at(at, watch);
            if self.chance(0.3) {
                let leave = at + self.number(200, 15_000);
                self.at(leave, Action::Leave(viewer));
            }
        }
    }

    fn add_failure(&mut self) {
        let at = self.number(1000, 22_000);
        let after = at + self.number(100, 9000);
        let node = self.node();
        match self.number(0, 10) {
            0 | 1 => {
                self.at(at, Action::Kill(node));
                self.restart(after, node);
            }
            2 => {
                self.at(at, Action::Lose(node));
                self.restart(after, node);
            }
            3 => {
                self.at(at, Action::Drain(node));
                self.restart(after + 3000, node);
            }
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
            8 => {
                // From every other media node, but not from the clients.
                for other in 0..self.nodes() {
                    let places = (Place::Node(node), Place::Node(other));
                    self.at(at, Action::Cut(places.0, places.1));
                    self.at(after, Action::Mend(places.0, places.1));
                }
            }
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

    fn restart(&mut self, at: u64, node: usize) {
        let new_address = self.settings.has_dns && self.chance(0.5);
        self.at(at, Action::Start { node, new_address });
    }
}
