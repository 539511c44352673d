//! The events of a schedule.

mod failures;

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{
    Action, EncoderEnd, EncoderSettings, Event, Hardship, Protocol, STORM, Settings, ViewerSettings,
};

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
    /// The origins that fail one after another, and have no clients.
    failing: Vec<usize>,
    /// How long their failures may hold back what viewers see.
    outage: Duration,
}

/// Returns what happens to a cluster, sorted by time, and how long a failure of one origin may hold back what viewers see.
pub(super) fn plan(
    random: StdRng,
    settings: &Settings,
    hardship: Hardship,
) -> (Vec<Event>, Duration) {
    let mut plan = Plan {
        random,
        settings,
        hardship,
        events: Vec::new(),
        encoders: 0,
        viewers: 0,
        failing: Vec::new(),
        outage: Duration::ZERO,
    };
    if hardship == Hardship::OneOrigin {
        plan.failing = vec![plan.origin(), plan.origin()];
    }
    plan.add_encoders();
    plan.add_viewers();
    plan.add_clock();
    match hardship {
        Hardship::Calm => plan.add_silent_dns(),
        Hardship::OneOrigin => plan.add_failures_of_origins(),
        Hardship::Failures => {
            for _ in 0..plan.number(1, 7) {
                plan.add_failure();
            }
            if settings.origins > 1 && plan.chance(0.4) {
                plan.add_split();
            }
        }
    }
    let (mut events, outage) = (plan.events, plan.outage);
    events.sort_by_key(|event| event.at);
    (events, outage)
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

    fn origin(&mut self) -> usize {
        self.random.random_range(0..self.settings.origins)
    }

    /// Returns the media node of an encoder.
    fn node_of_encoder(&mut self) -> usize {
        match self.hardship {
            Hardship::OneOrigin => {
                let edges = self.settings.origins..self.nodes();
                self.random.random_range(edges)
            }
            Hardship::Calm | Hardship::Failures => self.node(),
        }
    }

    /// Returns the media node of a viewer.
    fn node_of_viewer(&mut self) -> usize {
        match self.node() {
            failing if self.failing.contains(&failing) => self.node_of_encoder(),
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
            let limit = u64::try_from(STORM.as_millis()).unwrap_or_default();
            while at < limit {
                let encoder = self.add_encoder(at, stream, node, is_same_encoding);
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
            first_number: match self.chance(0.2) {
                true => self.random.random_range(1..50),
                false => 0,
            },
        };
        let publish = Action::Publish {
            encoder,
            stream,
            node,
            settings,
        };
        self.at(at, publish);
        encoder
    }

    fn add_viewers(&mut self) {
        for _ in 0..self.number(2, 8) {
            let at = self.number(CALM_START, 20_000);
            self.add_viewer(at);
        }
    }

    fn add_viewer(&mut self, at: u64) {
        let viewer = self.viewers;
        self.viewers += 1;
        let watch = Action::Watch {
            viewer,
            stream: self.random.random_range(0..self.settings.streams),
            node: self.node_of_viewer(),
            settings: self.viewer_settings(),
        };
        self.at(at, watch);
        if self.chance(0.3) {
            let leave = at + self.number(200, 15_000);
            self.at(leave, Action::Leave(viewer));
        }
    }

    /// Lets the clock of an encoder's media node jump, which must never matter.
    fn add_clock(&mut self) {
        if !self.chance(0.4) {
            return;
        }
        let nodes = self.events.iter().filter_map(|event| match event.action {
            Action::Publish { node, .. } => Some(node),
            _ => None,
        });
        let nodes: Vec<usize> = nodes.collect();
        let node = self.one_of(&nodes);
        let (first, second) = (self.one_of(&CLOCK_JUMPS), self.one_of(&CLOCK_JUMPS));
        let (at, after) = (self.number(0, 12_000), self.number(12_000, 24_000));
        self.at(at, Action::SetClock(node, first));
        self.at(after, Action::SetClock(node, second));
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
}
