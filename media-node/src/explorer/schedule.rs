//! A schedule: a cluster with its settings, and what happens to it and when. All of it follows from a seed.

mod plan;

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
    /// How long a failure of one origin may hold back what viewers see.
    pub(super) outage: Duration,
}

/// How much a cluster has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardship {
    /// Nothing fails: viewers lose nothing.
    Calm,
    /// One origin after another fails for a few seconds, and has no clients: viewers lose nothing.
    OneOrigin,
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
    /// Viewers get a slate while they wait.
    pub(super) has_slate: bool,
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
    /// The clock of a media node's host jumps, forward or back, to so much ahead of the right time.
    SetClock(usize, Duration),
    /// A media node disconnects all of its clients, as it does those whose key is revoked.
    Revoke(usize),
    Publish {
        encoder: usize,
        stream: usize,
        node: usize,
        settings: EncoderSettings,
    },
    EndEncoder(usize, EncoderEnd),
    Watch {
        viewer: usize,
        stream: usize,
        node: usize,
        settings: ViewerSettings,
    },
    Leave(usize),
}

/// How an encoder publishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncoderSettings {
    /// Its sequence headers are those of others, and the same on each connection.
    pub(super) is_same_encoding: bool,
    /// Among encoders that stand by for each other.
    pub(super) priority: u8,
    /// The timestamp that its clock begins with.
    pub(super) first_timestamp: u32,
    /// The number of its first frame. Most begin with a keyframe, others in a group of pictures.
    pub(super) first_number: u32,
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

/// How a viewer watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewerSettings {
    pub(super) protocol: Protocol,
    pub(super) is_tls: bool,
    /// Time that it takes for each message.
    pub(super) pause: Duration,
    /// Bytes that its connection holds.
    pub(super) capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtmp,
    Flv,
    WebSocket,
}

/// The time in which things happen. Afterwards everything is mended.
pub(super) const STORM: Duration = Duration::from_secs(25);

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
        let hardship = match random.random_range(0..20) {
            0..2 => Hardship::Calm,
            2..10 => Hardship::OneOrigin,
            _ => Hardship::Failures,
        };
        let settings = settings(&mut random, hardship);
        let (events, outage) = plan::plan(random, &settings, hardship);
        Self {
            seed,
            hardship,
            settings,
            events,
            outage,
        }
    }

    /// Returns how far the clocks of two hosts are from each other, at most.
    pub(super) fn clock_difference(&self) -> Duration {
        let jumps = self.events.iter().filter_map(|event| match event.action {
            Action::SetClock(_, ahead) => Some(ahead),
            _ => None,
        });
        jumps.chain([self.settings.skew]).max().unwrap_or_default()
    }
}

fn settings(random: &mut StdRng, hardship: Hardship) -> Settings {
    let mut one_of = |choices: &[u32]| choices[random.random_range(0..choices.len())];
    let milliseconds = |choice: u32| Duration::from_millis(choice.into());
    let is_one_origin = hardship == Hardship::OneOrigin;
    Settings {
        origins: match is_one_origin {
            true => one_of(&[2, 3]) as usize,
            false => one_of(&[1, 2, 2, 3]) as usize,
        },
        edges: match is_one_origin {
            true => one_of(&[1, 2, 3]) as usize,
            false => one_of(&[0, 1, 2, 2, 3]) as usize,
        },
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
        has_slate: one_of(&[0, 0, 0, 1]) == 1,
        publish_idle_timeout_seconds: one_of(&[3, 8]),
        play_wait_seconds: one_of(&[0, 3, 10]),
        continuity_seconds: match is_one_origin {
            true => 12,
            false => one_of(&[1, 6, 12]),
        },
        linger_seconds: one_of(&[0, 2, 8]),
        window_seconds: match is_one_origin {
            true => 10,
            false => one_of(&[2, 10]),
        },
        pulse_milliseconds: one_of(&[0, 0, 50, 350]),
    }
}
