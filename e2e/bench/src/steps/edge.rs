//! The way through an edge: origin and edge share the server's core.

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::CoreSet;
use crate::server::{Interval, PlayProtocol, Server};

/// Viewers that connect one after another.
const JOINS: usize = 40;

impl Bench {
    pub(super) fn edge(&mut self) -> Result<()> {
        let origin = self.media_node(Interval::Default)?;
        let edge = Server::edge(&self.cores, CoreSet::Server, &self.media_node, &origin)?;
        let encoder = self.encoder(&origin.publish_url("edge"), Sizes::NORMAL)?;
        let pulled = self.first_frames(&edge.play_url(PlayProtocol::Flv, "edge"), 1)?;
        self.add_durations(
            ["edge", MEDIA_NODE, "first frame", "edge pulls"],
            1,
            &pulled,
        );
        for (setting, server) in [("origin", &origin), ("edge", &edge)] {
            let url = server.play_url(PlayProtocol::Flv, "edge");
            let probe = self.probes(&url, 1)?;
            let latency = self.latency_of(&probe, self.plan.window)?;
            self.add_durations(["edge", MEDIA_NODE, "each frame", setting], 1, &latency);
            let first = self.first_frames(&url, JOINS)?;
            self.add_durations(["edge", MEDIA_NODE, "first frame", setting], 1, &first);
        }
        encoder.assert_connected()
    }
}
