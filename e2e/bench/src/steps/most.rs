//! As many viewers as one core serves with the defaults: no viewer misses a frame, and 99 % of frames come within a second.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::Meter;
use crate::report::Row;
use crate::server::{Interval, PlayProtocol};

/// Viewers that are added at a time.
const MORE: usize = 2_000;

/// One address of this host has ports for little more.
const MOST: usize = 24_000;

/// Viewers whose latency is measured.
const PROBES: usize = 10;

const IN_TIME: Duration = Duration::from_secs(1);

impl Bench {
    pub(super) fn most(&mut self) -> Result<()> {
        self.most_by(PlayProtocol::Flv)?;
        self.most_by(PlayProtocol::Rtmp)
    }

    fn most_by(&mut self, protocol: PlayProtocol) -> Result<()> {
        let node = self.media_node(Interval::Default)?;
        let encoder = self.encoder(&node.publish_url("most"), Sizes::NORMAL)?;
        let url = node.play_url(protocol, "most");
        let probes = self.probes(&url, PROBES)?;
        let mut crowds = Vec::new();
        while crowds.len() * MORE < MOST {
            match self.crowd(&url, MORE) {
                Ok(crowd) => crowds.push(crowd),
                Err(error) => {
                    self.report.say(&format!("no more viewers: {error:#}"));
                    break;
                }
            }
            let viewers = crowds.len() * MORE;
            let before: u64 = crowds.iter().map(|crowd| crowd.received().gaps).sum();
            let meter = Meter::start(self.cores.server, Some(node.process()))?;
            let latency = self.latency_of(&probes, self.plan.window)?;
            let usage = meter.stop()?;
            let gaps = crowds
                .iter()
                .map(|crowd| crowd.received().gaps)
                .sum::<u64>()
                - before;
            crowds
                .iter()
                .try_for_each(crate::crowd::Crowd::assert_faultless)?;
            let p99 = latency.quantile(0.99);
            let per_cent = 100.0 * usage.core.as_secs_f64() / usage.elapsed.as_secs_f64();
            self.report.add(Row {
                step: "most".to_owned(),
                server: MEDIA_NODE.to_owned(),
                protocol: protocol.to_string(),
                setting: Interval::Default.to_string(),
                viewers,
                figures: vec![
                    ("core %", per_cent),
                    ("p99 ms", p99.as_secs_f64() * 1000.0),
                    ("gaps", gaps as f64),
                ],
            });
            if gaps > 0 || p99 > IN_TIME {
                break;
            }
        }
        encoder.assert_connected()
    }
}
