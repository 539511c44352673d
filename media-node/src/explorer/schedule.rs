//! A schedule: a cluster with its settings, and what happens to it and when. All of it follows from a seed.

mod action;
mod hardship;
mod plan;
mod settings;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::media::SentTracks;
pub(super) use action::{
    EncoderEnd, EncoderSettings, Event, Place, Protocol, ScheduledAction, ViewerSettings,
};
pub(super) use hardship::Hardship;
use plan::Randoms;
pub(super) use settings::{Settings, SlateKind};

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

impl Schedule {
    /// Returns the schedule of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // Random numbers of their own, and none where a seed was pinned before there were any: those schedules are what they were.
        let is_chain = matches!(seed % 28, 24..27);
        let mut further = (seed % 7 == 4 || seed % 8 == 5 || is_chain)
            .then(|| StdRng::seed_from_u64(seed.wrapping_mul(FURTHER)));
        let variations = (seed % 20 == 11 || matches!(seed % 22, 13 | 19 | 21))
            .then(|| StdRng::seed_from_u64(seed.wrapping_mul(VARIATIONS)));
        let memory =
            matches!(seed % 23, 18..21).then(|| StdRng::seed_from_u64(seed.wrapping_mul(MEMORY)));
        let is_rollout = matches!(seed % 19, 12 | 13);
        let is_narrow = matches!(seed % 31, 8 | 10);
        let narrow =
            matches!(seed % 31, 11 | 12).then(|| StdRng::seed_from_u64(seed.wrapping_mul(NARROW)));
        let hardship = match (is_rollout, random.random_range(0..20)) {
            (true, ..10) => Hardship::RolloutOfOrigins,
            (true, _) => Hardship::Rollout,
            (false, number) if is_chain => {
                // A third of them.
                if number % 3 == 0 {
                    Hardship::RtmpServer
                } else {
                    Hardship::RtmpServerFails
                }
            }
            (false, _) if is_narrow => Hardship::Narrow,
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
        let mut settings = settings::of(&mut random, hardship);
        if matches!(seed % 17, 5 | 8) && !hardship.has_rtmp_server() {
            settings.slate = SlateKind::LastKeyframe;
        }
        if is_chain && hardship.has_rtmp_server() {
            // Of all pairs of two numbers.
            settings.origins = 1 + usize::try_from(seed / 28 % 2).unwrap_or_default();
            settings.further_edges = 1 + usize::try_from(seed / 56 % 2).unwrap_or_default();
        }
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
            Hardship::Standbys | Hardship::OneOrigin | Hardship::Narrow | Hardship::Failures => 25,
            Hardship::RolloutOfOrigins | Hardship::Rollout => 35,
        });
        let randoms = Randoms {
            random,
            further,
            variations,
            memory,
            narrow: narrow.filter(|_| hardship.disturbs()),
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
const NARROW: u64 = 0x27D4_EB2F_1656_67C5;
const MEMORY: u64 = 0x1656_67B1_9E37_79F9;
const VARIATIONS: u64 = 0xC2B2_AE3D_27D4_EB4F;
