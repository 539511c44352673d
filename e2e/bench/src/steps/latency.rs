//! The time from an encoder to a viewer, alone and among others, and from a viewer's connecting to its first frame.

use anyhow::Result;

use super::{Bench, FLOOR, MEDIA_NODE};
use crate::clip::Sizes;
use crate::server::{Interval, PlayProtocol, Server};

/// Viewers whose latency is measured, among others.
const PROBES: usize = 10;

/// Viewers that connect one after another.
const JOINS: usize = 40;

impl Bench {
    /// Measures the floor, a media node at its default and at every message, and other servers as they are.
    pub(super) fn latency(&mut self) -> Result<()> {
        let every = Interval::EveryMessage;
        let floor = Server::floor(&self.cores, every)?;
        self.latency_of_stream(
            FLOOR,
            &every.to_string(),
            &floor.play_url(PlayProtocol::Flv, "latency"),
        )?;
        drop(floor);
        for interval in [Interval::Default, Interval::EveryMessage] {
            let node = self.media_node(interval)?;
            let encoder = self.encoder(&node.publish_url("latency"), Sizes::NORMAL)?;
            let url = node.play_url(PlayProtocol::Flv, "latency");
            self.latency_of_stream(MEDIA_NODE, &interval.to_string(), &url)?;
            encoder.assert_connected()?;
        }
        for other in self.against.clone() {
            let encoder = self.encoder(&other.publish_url("latency"), Sizes::NORMAL)?;
            self.latency_of_stream(&other.name, "its own", &other.play_url("latency"))?;
            encoder.assert_connected()?;
        }
        Ok(())
    }

    fn latency_of_stream(&mut self, server: &str, setting: &str, url: &str) -> Result<()> {
        let alone = self.probes(url, 1)?;
        let latency = self.latency_of(&alone, self.plan.window)?;
        self.add_durations(["latency", server, "each frame", setting], 1, &latency);
        let first = self.first_frames(url, JOINS)?;
        self.add_durations(["latency", server, "first frame", setting], 1, &first);
        drop(alone);
        for viewers in self.plan.audiences.clone() {
            let others = self.crowd(url, viewers - PROBES)?;
            let probes = self.probes(url, PROBES)?;
            let latency = self.latency_of(&probes, self.plan.window)?;
            self.add_durations(
                ["latency", server, "each frame", setting],
                viewers,
                &latency,
            );
            others.assert_faultless()?;
        }
        Ok(())
    }
}
