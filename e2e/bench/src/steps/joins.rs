//! A storm of joins: viewers come at 500 a second while thousands watch. Every one of them must get both tracks, and the others must
//! hardly notice.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::crowd::{Behaviour, Crowd};
use crate::server::{Interval, PlayProtocol};

const JOINS_PER_SECOND: u32 = 500;
const SECONDS: u32 = 5;

/// Viewers whose latency is measured.
const PROBES: usize = 10;

impl Bench {
    pub(super) fn joins(&mut self) -> Result<()> {
        let node = self.media_node(Interval::Default)?;
        let encoder = self.encoder(&node.publish_url("joins"), Sizes::NORMAL)?;
        let url = node.play_url(PlayProtocol::Flv, "joins");
        let viewers = self.plan.many_viewers / 2;
        let others = self.crowd(&url, viewers)?;
        let probes = self.probes(&url, PROBES)?;
        let storm = Duration::from_secs(SECONDS.into());
        let before = self.latency_of(&probes, storm)?;
        let urls = (0..JOINS_PER_SECOND * SECONDS).map(|_| url.clone());
        let behaviour = Behaviour {
            joins_per_second: JOINS_PER_SECOND,
            ..Behaviour::default()
        };
        let joining = Crowd::start(self.crowds.handle(), urls, behaviour);
        let during = self.latency_of(&probes, storm)?;
        joining.wait_until_all_watch()?;
        others.assert_faultless()?;
        encoder.assert_connected()?;
        self.add_durations(["joins", MEDIA_NODE, "others", "before"], viewers, &before);
        self.add_durations(["joins", MEDIA_NODE, "others", "during"], viewers, &during);
        let first = joining.first_frame();
        self.add_durations(
            ["joins", MEDIA_NODE, "first frame", "500 a second"],
            viewers,
            &first,
        );
        Ok(())
    }
}
