//! A schedule: a cluster with its settings, and what happens to it and when. All of it follows from a seed.

mod plan;

use std::time::Duration;

use media_config::DuplicatePublish;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::media::SentTracks;
use crate::host::simulated::network::DnsState;
use plan::Randoms;

/// What happens to one cluster.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) hardship: Hardship,
    pub(super) settings: Settings,
    /// Encoders change their sequence headers while they publish, as for another resolution.
    pub(super) changes_encoding: bool,
    /// What every second encoder sends. The others send both tracks.
    pub(super) tracks: SentTracks,
    /// Sorted by time.
    pub(super) events: Vec<Event>,
    /// The time in which things happen. Afterwards everything is mended.
    pub(super) storm: Duration,
    pub(super) outages: Outages,
}

/// What a cluster has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardship {
    /// Nothing fails but DNS: viewers lose nothing.
    Calm,
    /// Nothing fails, and encoders take over from each other on media nodes whose clocks differ.
    Takeovers,
    /// Nothing fails, and encoders stand by for each other.
    Standbys,
    /// Nothing fails. The edges know the origin only as an RTMP server.
    RtmpServer,
    /// The same, and the server fails, or the paths to it.
    RtmpServerFails,
    /// One origin after another fails for a few seconds, and has no clients: viewers lose nothing.
    OneOrigin,
    /// All origins are replaced or restarted one after another, and have no clients: viewers lose nothing.
    RolloutOfOrigins,
    /// All media nodes are, with their clients.
    Rollout,
    /// The path between an edge and an origin fails, or the origin is silent: viewers lose no more than what a window does not hold.
    Path,
    /// The origin that has a publication fails when that ends: viewers get all of it.
    Tail,
    /// Two origins are cut off from each other, and each gets an encoder of the same stream: one of them stays.
    Split,
    /// Anything may fail.
    Failures,
}

impl Hardship {
    /// Returns whether viewers and encoders may notice what fails.
    pub(super) fn disturbs(self) -> bool {
        matches!(
            self,
            Self::Rollout | Self::RtmpServerFails | Self::Split | Self::Failures
        )
    }

    /// Returns whether the edges know the origin only as an RTMP server.
    pub(super) fn has_rtmp_server(self) -> bool {
        matches!(self, Self::RtmpServer | Self::RtmpServerFails)
    }

    /// Returns whether media nodes may still drain when everything is mended, or keep publications whose encoders are gone.
    pub(super) fn drains(self) -> bool {
        self.disturbs() || matches!(self, Self::OneOrigin | Self::RolloutOfOrigins)
    }

    /// Returns whether every media node knows of every encoder in time: nothing fails that surveys need.
    pub(super) fn is_calm(self) -> bool {
        matches!(self, Self::Calm | Self::Takeovers | Self::Standbys)
    }

    /// Returns whether clocks are right.
    pub(super) fn has_right_clocks(self) -> bool {
        matches!(self, Self::Path | Self::Tail | Self::Split)
    }
}

/// What failures may cost viewers who depend on nothing else that fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Outages {
    /// How long what viewers see may be held back, by media node.
    pub(super) longest: Vec<Duration>,
    /// Messages that each of them may lose.
    pub(super) lost: u32,
}

impl Outages {
    /// Returns how long what viewers on a media node see may be held back.
    pub(super) fn of(&self, node: usize) -> Duration {
        self.longest.get(node).copied().unwrap_or_default()
    }

    fn add(&mut self, node: usize, outage: Duration) {
        if self.longest.len() <= node {
            self.longest.resize(node + 1, Duration::ZERO);
        }
        self.longest[node] = self.longest[node].max(outage);
    }
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
    /// The edges know the origins only as RTMP servers.
    pub(super) has_rtmp_server: bool,
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
    pub(super) action: ScheduledAction,
}

/// A host of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(usize),
    Clients,
}

/// What happens. What does not apply, such as the start of what runs, does nothing.
#[derive(Clone, Debug)]
pub(super) enum ScheduledAction {
    /// The process of a media node is killed.
    Kill(usize),
    /// The host of a media node loses its power.
    Lose(usize),
    Drain(usize),
    /// Another media node takes the place of one, which drains from then on.
    Replace(usize),
    Start {
        node: usize,
        new_address: bool,
    },
    /// The process of a media node stops, with its connections open.
    Hang(usize),
    Resume(usize),
    Cut(Place, Place),
    /// Packets from one host to another one get lost, and none of those back.
    CutOneWay(Place, Place),
    Mend(Place, Place),
    /// A firewall between two hosts forgets their connections. New ones work.
    Forget(Place, Place),
    /// Packets take this much longer.
    Delay(Place, Place, Duration),
    Dns(DnsState),
    /// The clock of a media node's host jumps, forward or back, to so much ahead of the right time.
    SetClock(usize, Duration),
    /// A media node has this many bytes of memory for media, or more than it needs.
    LimitMemory(usize, Option<usize>),
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

/// How an encoder publishes. By default it has the encoding of no other one, and begins with a keyframe at zero.
#[derive(Clone, Copy, Debug, Default)]
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
    /// Time in which it takes nothing once, after its first messages.
    pub(super) rest: Duration,
    /// Bytes that its connection holds.
    pub(super) capacity: usize,
}

impl ViewerSettings {
    /// Returns those of a viewer that takes each message as it comes.
    pub(super) fn plain(protocol: Protocol) -> Self {
        Self {
            protocol,
            is_tls: false,
            pause: Duration::ZERO,
            rest: Duration::ZERO,
            capacity: 64 << 10,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtmp,
    Flv,
    WebSocket,
}

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
        // Random numbers of their own, and none where a seed was pinned before there were any: those schedules are what they were.
        let mut further = (seed % 7 == 4 || seed % 8 == 5)
            .then(|| StdRng::seed_from_u64(seed.wrapping_mul(FURTHER)));
        let variations = (seed % 20 == 11 || matches!(seed % 22, 13 | 19 | 21))
            .then(|| StdRng::seed_from_u64(seed.wrapping_mul(VARIATIONS)));
        let memory =
            matches!(seed % 23, 18..21).then(|| StdRng::seed_from_u64(seed.wrapping_mul(MEMORY)));
        let is_rollout = matches!(seed % 19, 12 | 13);
        let hardship = match (is_rollout, random.random_range(0..20)) {
            (true, ..10) => Hardship::RolloutOfOrigins,
            (true, _) => Hardship::Rollout,
            (false, 0) => Hardship::Calm,
            (false, 1..4) => Hardship::Takeovers,
            (false, 4..6) => Hardship::Standbys,
            (false, 6) if further.is_some() => Hardship::RtmpServerFails,
            (false, 6) => Hardship::RtmpServer,
            (false, 7..9) => Hardship::OneOrigin,
            (false, 9..12) => Hardship::Path,
            (false, 12..14) => Hardship::Tail,
            (false, 14) => Hardship::Split,
            _ => Hardship::Failures,
        };
        let mut settings = settings(&mut random, hardship);
        // The edges do not look up the server again.
        settings.has_dns &= hardship != Hardship::RtmpServerFails;
        let is_plain = matches!(hardship, Hardship::Calm | Hardship::Failures);
        if let Some(further) = further.as_mut().filter(|_| is_plain)
            && further.random_bool(0.3)
        {
            settings.continuity_seconds = 0;
        }
        let storm = Duration::from_secs(match hardship {
            Hardship::Calm | Hardship::Takeovers | Hardship::RtmpServer | Hardship::Tail => 15,
            Hardship::Path | Hardship::RtmpServerFails => 20,
            Hardship::Split => 12,
            Hardship::Standbys | Hardship::OneOrigin | Hardship::Failures => 25,
            Hardship::RolloutOfOrigins | Hardship::Rollout => 35,
        });
        let randoms = Randoms {
            random,
            further,
            variations,
            memory,
        };
        let (events, outages) = plan::plan(randoms, &settings, hardship, storm);
        Self {
            seed,
            hardship,
            settings,
            // No random choices: the other schedules are what they were.
            changes_encoding: seed % 5 == 4,
            tracks: match seed % 10 {
                7 => SentTracks::Audio,
                9 => SentTracks::Video,
                _ => SentTracks::Both,
            },
            events,
            storm,
            outages,
        }
    }

    /// Returns how far the clocks of two hosts are from each other, at most.
    pub(super) fn clock_difference(&self) -> Duration {
        let jumps = self.events.iter().filter_map(|event| match event.action {
            ScheduledAction::SetClock(_, ahead) => Some(ahead),
            _ => None,
        });
        jumps.chain([self.settings.skew]).max().unwrap_or_default()
    }
}

/// Make other random numbers of a seed.
const FURTHER: u64 = 0x9E37_79B9_7F4A_7C15;
const MEMORY: u64 = 0x1656_67B1_9E37_79F9;
const VARIATIONS: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// Returns the numbers of origins and of edges that a schedule chooses from.
fn sizes(hardship: Hardship) -> (&'static [u32], &'static [u32]) {
    match hardship {
        Hardship::Calm | Hardship::Failures => (&[1, 2, 2, 3], &[0, 1, 2, 2, 3]),
        Hardship::Takeovers | Hardship::Standbys => (&[1, 2, 2, 3], &[1, 1, 2]),
        Hardship::RtmpServer | Hardship::RtmpServerFails => (&[1], &[1, 2]),
        Hardship::OneOrigin | Hardship::RolloutOfOrigins => (&[2, 3], &[1, 2, 3]),
        Hardship::Rollout => (&[1, 2, 2], &[1, 2]),
        Hardship::Path => (&[1, 2, 2, 3], &[2, 2, 3]),
        Hardship::Tail => (&[1, 2, 2, 3], &[2]),
        Hardship::Split => (&[2, 2, 3], &[0, 1]),
    }
}

fn settings(random: &mut StdRng, hardship: Hardship) -> Settings {
    let mut one_of = |choices: &[u32]| choices[random.random_range(0..choices.len())];
    let milliseconds = |choice: u32| Duration::from_millis(choice.into());
    let (origins, edges) = sizes(hardship);
    let is_focused = !matches!(
        hardship,
        Hardship::Calm
            | Hardship::OneOrigin
            | Hardship::RolloutOfOrigins
            | Hardship::Rollout
            | Hardship::Failures
    );
    let has_failures_to_bear = !hardship.disturbs() && !hardship.is_calm();
    Settings {
        origins: one_of(origins) as usize,
        edges: one_of(edges) as usize,
        streams: if is_focused {
            1
        } else {
            one_of(&[1, 1, 2]) as usize
        },
        has_dns: one_of(&[0, 1]) == 1,
        time_to_live: milliseconds(one_of(&[1000, 5000, 30_000])),
        has_rtmp_server: hardship.has_rtmp_server(),
        latency: milliseconds(one_of(&[1, 5, 40])),
        skew: milliseconds(if hardship.has_right_clocks() {
            0
        } else {
            one_of(&[0, 0, 50, 5000])
        }),
        duplicate_publish: match (hardship, one_of(&[0, 0, 1, 2])) {
            (Hardship::Standbys, _) => DuplicatePublish::Standby,
            (hardship, _) if hardship.has_rtmp_server() => DuplicatePublish::Takeover,
            (Hardship::Path | Hardship::Tail | Hardship::Split, 2) => DuplicatePublish::Takeover,
            (_, 1) | (Hardship::Takeovers, 2) => DuplicatePublish::Reject,
            (_, 2) => DuplicatePublish::Standby,
            _ => DuplicatePublish::Takeover,
        },
        has_slate: match hardship {
            Hardship::RtmpServer | Hardship::RtmpServerFails => false,
            Hardship::Takeovers | Hardship::Standbys => one_of(&[0, 1]) == 1,
            _ => one_of(&[0, 0, 0, 1]) == 1,
        },
        publish_idle_timeout_seconds: one_of(&[3, 8]),
        play_wait_seconds: one_of(&[0, 3, 10]),
        continuity_seconds: if has_failures_to_bear || is_focused {
            12
        } else {
            one_of(&[1, 6, 12])
        },
        linger_seconds: one_of(&[0, 2, 8]),
        window_seconds: match hardship {
            Hardship::OneOrigin | Hardship::RolloutOfOrigins | Hardship::Tail => 10,
            Hardship::Path => one_of(&[4, 10]),
            _ => one_of(&[2, 10]),
        },
        pulse_milliseconds: one_of(&[0, 0, 50, 350]),
    }
}
