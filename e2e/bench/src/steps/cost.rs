//! The CPU time of a viewer: core-seconds for a thousand viewers that watch for a second.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bench, FLOOR, MEDIA_NODE, median};
use crate::clip::{FRAMES_PER_SECOND, Sizes};
use crate::cores::Meter;
use crate::crowd::Crowd;
use crate::report::Row;
use crate::server::{Interval, Server};

/// After all viewers have begun to watch.
const WARM_UP: Duration = Duration::from_secs(1);

/// The figure that is compared with the floor.
pub(super) const COST: &str = "process";

/// What is measured, and how it is called.
struct Subject<'a> {
    server: &'a str,
    protocol: String,
    setting: String,
    process: Option<u32>,
}

impl Bench {
    /// Measures each interval: the floor, then a media node by each protocol. After that, other servers as they are.
    pub(super) fn cost(&mut self) -> Result<()> {
        for interval in self.plan.intervals.clone() {
            let floor = match interval {
                Interval::Default => None,
                _ => Some(self.cost_of_floor(interval)?),
            };
            let node = self.media_node(interval)?;
            let encoder = self.encoder(&node.publish_url("cost"), Sizes::NORMAL)?;
            for protocol in self.plan.protocols.clone() {
                let subject = Subject {
                    server: MEDIA_NODE,
                    protocol: protocol.to_string(),
                    setting: interval.to_string(),
                    process: Some(node.process()),
                };
                let cost = self.cost_of(&node.play_url(protocol, "cost"), subject)?;
                encoder.assert_connected()?;
                if let Some(floor) = floor {
                    let name = format!("cost {protocol} {interval}");
                    self.report.ratios.insert(name, cost / floor);
                }
            }
        }
        for other in self.against.clone() {
            let encoder = self.encoder(&other.publish_url("cost"), Sizes::NORMAL)?;
            let subject = Subject {
                server: &other.name,
                protocol: other.protocol().to_owned(),
                setting: "its own".to_owned(),
                process: other.process,
            };
            self.cost_of(&other.play_url("cost"), subject)?;
            encoder.assert_connected()?;
        }
        Ok(())
    }

    fn cost_of_floor(&mut self, interval: Interval) -> Result<f64> {
        let floor = Server::floor(&self.cores, interval)?;
        let subject = Subject {
            server: FLOOR,
            protocol: "HTTP-FLV".to_owned(),
            setting: interval.to_string(),
            process: Some(floor.process()),
        };
        self.cost_of(
            &floor.play_url(crate::server::Protocol::Flv, "floor"),
            subject,
        )
    }

    /// Measures a stream that is published. Returns the cost that is compared.
    fn cost_of(&mut self, url: &str, subject: Subject<'_>) -> Result<f64> {
        let viewers = self.plan.viewers;
        let crowd = self.crowd(url, viewers)?;
        std::thread::sleep(WARM_UP);
        let (mut core, mut process) = (Vec::new(), Vec::new());
        for _ in 0..self.plan.windows {
            let meter = Meter::start(self.cores.server, subject.process)?;
            self.watch(&crowd, self.plan.window)?;
            let usage = meter.stop()?;
            let watched = usage.elapsed.as_secs_f64() * viewers as f64 / 1000.0;
            core.push(usage.core.as_secs_f64() / watched);
            process.extend(usage.process.map(|busy| busy.as_secs_f64() / watched));
        }
        let (core, process) = (median(core), median(process));
        self.report.add(Row {
            step: "cost".to_owned(),
            server: subject.server.to_owned(),
            protocol: subject.protocol,
            setting: subject.setting,
            viewers,
            figures: vec![("core", core), (COST, process)],
        });
        Ok(process)
    }

    /// Lets viewers watch for a time, and fails unless they receive everything.
    fn watch(&self, crowd: &Crowd, span: Duration) -> Result<()> {
        let before = crowd.received();
        std::thread::sleep(span);
        crowd.assert_faultless()?;
        let after = crowd.received();
        let expected = FRAMES_PER_SECOND * span.as_secs_f64() * self.plan.viewers as f64;
        let share = (after.frames - before.frames) as f64 / expected;
        // Messages come in pieces of up to 350 ms, of which a window has one more or less.
        ensure!(
            (0.8..1.2).contains(&share),
            "viewers received {share:.2} of what was sent"
        );
        let gaps = after.gaps - before.gaps;
        ensure!(gaps == 0, "viewers missed frames {gaps} times");
        Ok(())
    }
}
