//! The settings of a cluster.

use std::time::Duration;

use media_config::DuplicatePublish;
use rand::RngExt;
use rand::rngs::StdRng;

use super::Hardship;

/// The settings of a cluster.
#[derive(Clone, Debug)]
pub(in super::super) struct Settings {
    pub(in super::super) origins: usize,
    pub(in super::super) edges: usize,
    pub(in super::super) streams: usize,
    /// The origins have the name of a Service, and a new one has a new address.
    pub(in super::super) has_dns: bool,
    pub(in super::super) time_to_live: Duration,
    /// The edges know the origins only as RTMP servers, or further edges know these edges so.
    pub(in super::super) has_rtmp_server: bool,
    /// Edges of another cluster, of which the edges are the RTMP servers.
    pub(in super::super) further_edges: usize,
    pub(in super::super) latency: Duration,
    /// How far the clocks of the hosts are from each other, at most.
    pub(in super::super) skew: Duration,
    pub(in super::super) duplicate_publish: DuplicatePublish,
    /// What viewers get while they wait.
    pub(in super::super) slate: SlateKind,
    pub(in super::super) publish_idle_timeout_seconds: u32,
    pub(in super::super) play_wait_seconds: u32,
    pub(in super::super) continuity_seconds: u32,
    pub(in super::super) linger_seconds: u32,
    pub(in super::super) window_seconds: u32,
    pub(in super::super) pulse_milliseconds: u32,
}

/// What viewers get while they wait for an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum SlateKind {
    None,
    Clip,
    /// The last keyframe of the stream, with silence.
    LastKeyframe,
}

impl SlateKind {
    fn clip(number: u32) -> Self {
        if number == 0 { Self::None } else { Self::Clip }
    }
}

impl Settings {
    /// Returns the number of media nodes: origins come first, and further edges last.
    pub(in super::super) fn nodes(&self) -> usize {
        self.origins + self.edges + self.further_edges
    }

    /// Returns whether a media node only knows RTMP servers.
    pub(in super::super) fn plays_from_rtmp_servers(&self, node: usize) -> bool {
        let is_further = node >= self.origins + self.edges;
        let is_edge = node >= self.origins && self.further_edges == 0;
        is_further || (is_edge && self.has_rtmp_server)
    }

    /// Returns whether encoders stand by for each other, so that one may be on air again.
    pub(in super::super) fn has_standby(&self) -> bool {
        self.duplicate_publish == DuplicatePublish::Standby
    }
}

/// Returns the numbers of origins and of edges that a schedule chooses from.
fn sizes(hardship: Hardship) -> (&'static [u32], &'static [u32]) {
    match hardship {
        Hardship::Calm | Hardship::Failures => (&[1, 2, 2, 3], &[0, 1, 2, 2, 3]),
        Hardship::Takeovers | Hardship::Standbys => (&[1, 2, 2, 3], &[1, 1, 2]),
        Hardship::RtmpServer | Hardship::RtmpServerFails => (&[1], &[1, 2]),
        Hardship::OneOrigin | Hardship::RolloutOfOrigins => (&[2, 3], &[1, 2, 3]),
        Hardship::Rollout => (&[1, 2, 2], &[1, 2]),
        Hardship::Path => (&[1, 2, 2, 3], &[2, 2, 3]),
        Hardship::Narrow => (&[2, 2, 3], &[2, 2, 3]),
        Hardship::Tail => (&[1, 2, 2, 3], &[2]),
        Hardship::Split => (&[2, 2, 3], &[0, 1]),
    }
}

/// Returns the settings that a schedule of this kind has by chance.
pub(super) fn of(random: &mut StdRng, hardship: Hardship) -> Settings {
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
        further_edges: 0,
        latency: milliseconds(one_of(&[1, 5, 40])),
        skew: milliseconds(if hardship.has_right_clocks() {
            0
        } else {
            one_of(&[0, 0, 50, 5000])
        }),
        duplicate_publish: match (hardship, one_of(&[0, 0, 1, 2])) {
            (Hardship::Standbys, _) => DuplicatePublish::Standby,
            (hardship, _) if hardship.has_rtmp_server() => DuplicatePublish::Takeover,
            (Hardship::Path | Hardship::Narrow | Hardship::Tail | Hardship::Split, 2) => {
                DuplicatePublish::Takeover
            }
            (_, 1) | (Hardship::Takeovers, 2) => DuplicatePublish::Reject,
            (_, 2) => DuplicatePublish::Standby,
            _ => DuplicatePublish::Takeover,
        },
        slate: match hardship {
            Hardship::RtmpServer | Hardship::RtmpServerFails => SlateKind::None,
            Hardship::Takeovers | Hardship::Standbys => SlateKind::clip(one_of(&[0, 1])),
            _ => SlateKind::clip(one_of(&[0, 0, 0, 1])),
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
            Hardship::OneOrigin
            | Hardship::RolloutOfOrigins
            | Hardship::Narrow
            | Hardship::Tail => 10,
            Hardship::Path => one_of(&[4, 10]),
            _ => one_of(&[2, 10]),
        },
        pulse_milliseconds: one_of(&[0, 0, 50, 350]),
    }
}
