//! A thousand viewers that read nothing: their memory, and what those notice that read.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::memory;
use crate::report::Row;
use crate::server::{Interval, PlayProtocol};
use crate::viewer::Idle;

const SLOW: usize = 1_000;

/// Viewers whose latency is measured.
const PROBES: usize = 10;

/// Until the kernel's buffers are full. A media node disconnects after 30 s.
const FILL: Duration = Duration::from_secs(12);

impl Bench {
    pub(super) fn slow(&mut self) -> Result<()> {
        let node = self.media_node(Interval::Milliseconds(100))?;
        let encoder = self.encoder(&node.publish_url("slow"), Sizes::NORMAL)?;
        let url = node.play_url(PlayProtocol::Flv, "slow");
        let others = self.crowd(&url, self.plan.viewers)?;
        let probes = self.probes(&url, PROBES)?;
        let span = Duration::from_secs(5);
        let before = (memory(node.process())?, self.latency_of(&probes, span)?);
        let slow = Idle::connect(std::iter::repeat_n(url.clone(), SLOW))?;
        std::thread::sleep(FILL);
        let beside = (memory(node.process())?, self.latency_of(&probes, span)?);
        drop(slow);
        others.assert_faultless()?;
        encoder.assert_connected()?;
        let viewers = self.plan.viewers;
        self.add_durations(["slow", MEDIA_NODE, "others", "before"], viewers, &before.1);
        self.add_durations(
            ["slow", MEDIA_NODE, "others", "beside slow"],
            viewers,
            &beside.1,
        );
        let grown = beside.0.saturating_sub(before.0) as f64 / 1024.0;
        self.report.add(Row {
            step: "slow".to_owned(),
            server: MEDIA_NODE.to_owned(),
            protocol: "reads nothing".to_owned(),
            setting: "100 ms".to_owned(),
            viewers: SLOW,
            figures: vec![("KiB a viewer", grown / SLOW as f64)],
        });
        Ok(())
    }
}
