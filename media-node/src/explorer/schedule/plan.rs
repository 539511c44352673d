//! The events of a schedule.

mod failures;
mod focused;
mod further;
mod narrow;
mod rollouts;
mod variations;

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{
    EncoderEnd, EncoderSettings, Event, Hardship, Outages, Protocol, ScheduledAction, Settings,
    ViewerSettings,
};
use crate::explorer::socket::{first_choices, wide};

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
    storm: Duration,
    events: Vec<Event>,
    encoders: usize,
    viewers: usize,
    /// The origins in the order in which edges try them for the first stream.
    carriers: Vec<usize>,
    /// The origins that have no clients, because they fail.
    failing: Vec<usize>,
    outages: Outages,
}

/// The random numbers of a plan. What was added later has its own, and not in all plans.
pub(super) struct Randoms {
    pub(super) random: StdRng,
    pub(super) further: Option<StdRng>,
    pub(super) variations: Option<StdRng>,
    pub(super) memory: Option<StdRng>,
    pub(super) narrow: Option<StdRng>,
}

/// Returns what happens to a cluster, sorted by time, and what that may cost.
pub(super) fn plan(
    randoms: Randoms,
    settings: &Settings,
    hardship: Hardship,
    storm: Duration,
) -> (Vec<Event>, Outages) {
    let mut plan = Plan {
        random: randoms.random,
        settings,
        hardship,
        storm,
        events: Vec::new(),
        encoders: 0,
        viewers: 0,
        carriers: first_choices(0, settings.origins),
        failing: Vec::new(),
        outages: Outages::default(),
    };
    plan.choose_failing();
    plan.add_clients();
    plan.add_clock();
    match hardship {
        Hardship::Calm => plan.add_silent_dns(),
        Hardship::OneOrigin => plan.add_failures_of_origins(),
        Hardship::RolloutOfOrigins => plan.add_rollout(settings.origins),
        Hardship::Rollout => plan.add_rollout(plan.nodes()),
        Hardship::Path => plan.add_path_failures(),
        Hardship::Narrow => plan.add_narrow_paths(),
        Hardship::Tail => plan.add_tails(),
        Hardship::Split => plan.add_split(),
        Hardship::Takeovers if plan.chance(0.3) => plan.add_silent_dns(),
        Hardship::Takeovers
        | Hardship::Standbys
        | Hardship::RtmpServer
        | Hardship::RtmpServerFails => {}
        Hardship::Failures => {
            for _ in 0..plan.number(1, 7) {
                plan.add_failure();
            }
            if settings.origins > 1 && plan.chance(0.4) {
                plan.add_split();
            }
        }
    }
    if let Some(further) = randoms.further {
        plan.random = further;
        plan.add_further_failures();
    }
    if let Some(variations) = randoms.variations {
        plan.random = variations;
        plan.vary();
    }
    if let Some(memory) = randoms.memory {
        plan.random = memory;
        plan.add_short_memory();
    }
    if let Some(narrow) = randoms.narrow {
        plan.random = narrow;
        plan.narrow_some();
    }
    let (mut events, outages) = (plan.events, plan.outages);
    events.sort_by_key(|event| event.at);
    (events, outages)
}

impl Plan<'_> {
    fn nodes(&self) -> usize {
        self.settings.nodes()
    }

    fn at(&mut self, milliseconds: u64, action: ScheduledAction) {
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

    fn origin(&mut self) -> usize {
        self.random.random_range(0..self.settings.origins)
    }

    /// Returns when everything is mended, in milliseconds.
    fn end(&self) -> u64 {
        u64::try_from(self.storm.as_millis()).unwrap_or(u64::MAX)
    }

    /// Chooses the origins that fail.
    fn choose_failing(&mut self) {
        self.failing = match self.hardship {
            Hardship::OneOrigin => {
                let first = if self.chance(0.7) {
                    self.carriers[0]
                } else {
                    self.origin()
                };
                vec![first, self.origin()]
            }
            Hardship::RolloutOfOrigins | Hardship::Narrow => (0..self.settings.origins).collect(),
            // Where only paths fail, no origin does.
            Hardship::Path | Hardship::Tail => {
                if self.chance(0.5) {
                    self.carriers.iter().copied().take(2).collect()
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        };
    }

    fn add_clients(&mut self) {
        match self.hardship {
            Hardship::Takeovers => self.add_takeovers(),
            Hardship::Standbys => self.add_standbys(),
            // Their encoders come with their failures.
            Hardship::Path | Hardship::Narrow | Hardship::Tail | Hardship::Split => {}
            Hardship::Calm
            | Hardship::RtmpServer
            | Hardship::RtmpServerFails
            | Hardship::OneOrigin
            | Hardship::RolloutOfOrigins
            | Hardship::Rollout
            | Hardship::Failures => self.add_encoders(),
        }
        self.add_viewers();
    }

    /// Returns the media node of an encoder.
    fn node_of_encoder(&mut self) -> usize {
        match self.hardship {
            Hardship::OneOrigin | Hardship::RolloutOfOrigins => self.edge(),
            _ => self.node(),
        }
    }

    /// Returns the media node of a viewer.
    fn node_of_viewer(&mut self) -> usize {
        match self.node() {
            failing if self.failing.contains(&failing) => self.edge(),
            node => node,
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
            let mut node = self.node_of_encoder();
            while at < self.end() {
                let encoder = self.add_encoder(at, stream, node, is_same_encoding);
                let lasts = self.number(1500, 20_000);
                let ends = match self.number(0, 10) {
                    0..4 => Some(EncoderEnd::Finish),
                    4..6 => Some(EncoderEnd::Crash),
                    // A takeover is the server's affair.
                    _ if self.settings.has_rtmp_server => Some(EncoderEnd::Finish),
                    6 if self.hardship == Hardship::Failures => Some(EncoderEnd::Freeze),
                    // The next one takes over.
                    _ => None,
                };
                if let Some(end) = ends {
                    self.at(at + lasts, ScheduledAction::EndEncoder(encoder, end));
                }
                let pause = match ends {
                    None => 0,
                    Some(_) => self.number(100, 4000),
                };
                at += lasts + pause;
                if self.chance(0.6) {
                    node = self.node_of_encoder();
                }
            }
        }
    }

    /// Adds an encoder. Returns its number.
    fn add_encoder(
        &mut self,
        at: u64,
        stream: usize,
        node: usize,
        is_same_encoding: bool,
    ) -> usize {
        let encoder = self.encoders;
        self.encoders += 1;
        let settings = EncoderSettings {
            is_same_encoding,
            priority: self.random.random_range(0..3),
            first_timestamp: self.one_of(&FIRST_TIMESTAMPS),
            first_number: if self.chance(0.2) {
                self.random.random_range(1..50)
            } else {
                0
            },
        };
        let publish = ScheduledAction::Publish {
            encoder,
            stream,
            node,
            settings,
        };
        self.at(at, publish);
        encoder
    }

    fn add_viewers(&mut self) {
        let latest = self.end() - 5000;
        for _ in 0..self.number(2, 6) {
            let at = self.number(CALM_START, latest);
            self.add_viewer(at);
        }
    }

    fn add_viewer(&mut self, at: u64) {
        let viewer = self.viewers;
        self.viewers += 1;
        let watch = ScheduledAction::Watch {
            viewer,
            stream: self.random.random_range(0..self.settings.streams),
            node: self.node_of_viewer(),
            settings: self.viewer_settings(),
        };
        self.at(at, watch);
        if self.chance(0.3) {
            let leave = at + self.number(200, 15_000);
            self.at(leave, ScheduledAction::Leave(viewer));
        }
    }

    /// Lets the clock of an encoder's media node jump, which must never matter.
    fn add_clock(&mut self) {
        let jumps = match self.hardship {
            Hardship::Path | Hardship::Narrow | Hardship::Tail | Hardship::Split => false,
            _ => self.chance(0.4),
        };
        if !jumps {
            return;
        }
        let nodes = self.events.iter().filter_map(|event| match event.action {
            ScheduledAction::Publish { node, .. } => Some(node),
            _ => None,
        });
        let nodes: Vec<usize> = nodes.collect();
        let node = self.one_of(&nodes);
        let (first, second) = (self.one_of(&CLOCK_JUMPS), self.one_of(&CLOCK_JUMPS));
        let (half, end) = (self.end() / 2, self.end());
        let (at, after) = (self.number(0, half), self.number(half, end));
        self.at(at, ScheduledAction::SetClock(node, first));
        self.at(after, ScheduledAction::SetClock(node, second));
    }

    fn viewer_settings(&mut self) -> ViewerSettings {
        use Protocol::{Flv, Rtmp, WebSocket};
        let is_slow = self.hardship == Hardship::Failures && self.chance(0.2);
        ViewerSettings {
            protocol: self.one_of(&[Rtmp, Rtmp, Flv, Flv, WebSocket]),
            is_tls: self.chance(0.1),
            pause: if is_slow {
                Duration::from_millis(self.number(25, 80))
            } else {
                Duration::ZERO
            },
            rest: Duration::ZERO,
            // Those of slow viewers hold less than a keyframe, others less than a group of pictures.
            room: wide(if is_slow {
                self.one_of(&[512, 2 << 10])
            } else {
                self.one_of(&[4 << 10, 64 << 10])
            }),
        }
    }
}
