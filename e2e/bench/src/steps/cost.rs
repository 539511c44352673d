//! The CPU time of a viewer: core-seconds for a thousand viewers that watch for a second.
//!
//! The speed of a computer that others use as well changes within seconds. So all servers of an interval run at the same time, and their
//! viewers come in turns: the floor's, then those of each protocol, then the floor's again. A ratio is of one turn.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::subject::{STREAM, Subject};
use super::{Bench, median};
use crate::clip::{FRAMES_PER_SECOND, Sizes};
use crate::cores::Meter;
use crate::report::Row;
use crate::server::{Interval, Server};

/// After all viewers have begun to watch.
const WARM_UP: Duration = Duration::from_millis(500);

/// The figure that is compared with the floor.
pub(super) const COST: &str = "process";

/// CPU time for a thousand viewers that watch for a second, of one turn.
#[derive(Clone, Copy, Debug)]
struct Cost {
    core: f64,
    process: Option<f64>,
}

impl Bench {
    /// Measures the floor and a media node at each interval. After that, other servers as they are.
    pub(super) fn cost(&mut self) -> Result<()> {
        for interval in self.plan.intervals.clone() {
            let node = self.media_node(interval)?;
            let encoder = self.encoder(&node.publish_url(STREAM), Sizes::NORMAL)?;
            let floor = match interval {
                Interval::Default => None,
                _ => Some(Server::floor(&self.cores, interval)?),
            };
            let floor = floor.as_ref();
            let mut subjects: Vec<Subject> = floor
                .map(|it| Subject::floor(it, interval))
                .into_iter()
                .collect();
            for protocol in &self.plan.protocols {
                subjects.push(Subject::media_node(&node, *protocol, interval));
            }
            let turns = self.costs_of(&subjects)?;
            encoder.assert_connected()?;
            if floor.is_some() {
                self.add_ratios(&subjects, &turns);
            }
        }
        self.cost_of_others()
    }

    fn cost_of_others(&mut self) -> Result<()> {
        let (mut encoders, mut subjects) = (Vec::new(), Vec::new());
        for other in &self.against {
            encoders.push(self.encoder(&other.publish_url(STREAM), Sizes::NORMAL)?);
            subjects.push(Subject::other(other));
        }
        self.costs_of(&subjects)?;
        encoders
            .iter()
            .try_for_each(|encoder| encoder.assert_connected())
    }

    /// Measures each subject in each turn, and adds its row. Returns the turns, with a cost for each subject.
    fn costs_of(&mut self, subjects: &[Subject]) -> Result<Vec<Vec<Cost>>> {
        let mut turns = Vec::new();
        for _ in 0..self.plan.turns {
            let costs: Result<_> = subjects.iter().map(|it| self.cost_of(it)).collect();
            turns.push(costs?);
        }
        for (index, subject) in subjects.iter().enumerate() {
            let all = |figure: fn(&Cost) -> Option<f64>| {
                let turns = turns.iter().filter_map(|turn: &Vec<Cost>| turn.get(index));
                median(turns.filter_map(figure).collect())
            };
            self.report.add(Row {
                step: "cost".to_owned(),
                server: subject.server.clone(),
                protocol: subject.protocol.clone(),
                setting: subject.setting.clone(),
                viewers: self.plan.viewers,
                figures: vec![
                    ("core", all(|cost| Some(cost.core))),
                    (COST, all(|cost| cost.process)),
                ],
            });
        }
        Ok(turns)
    }

    /// Measures the CPU time of a process in one turn.
    pub(super) fn process_cost(&self, subject: &Subject) -> Result<f64> {
        let cost = self.cost_of(subject)?.process;
        cost.context("the process is not known")
    }

    /// Measures a stream that is published, in one turn.
    fn cost_of(&self, subject: &Subject) -> Result<Cost> {
        let crowd = self.crowd(&subject.url, self.plan.viewers)?;
        std::thread::sleep(WARM_UP);
        let before = crowd.received();
        let meter = Meter::start(self.cores.server, subject.process)?;
        std::thread::sleep(self.plan.window);
        let usage = meter.stop()?;
        crowd.assert_faultless()?;
        let after = crowd.received();
        let gaps = after.gaps - before.gaps;
        ensure!(
            gaps == 0,
            "{}: viewers missed frames {gaps} times",
            subject.url
        );
        // By what was received: a window has one piece of 350 ms more or less.
        let watched = (after.frames - before.frames) as f64 / FRAMES_PER_SECOND / 1000.0;
        let expected = self.plan.viewers as f64 * usage.elapsed.as_secs_f64() / 1000.0;
        let share = watched / expected;
        ensure!(
            (0.7..1.3).contains(&share),
            "{}: viewers received {share:.2} of what was sent",
            subject.url
        );
        Ok(Cost {
            core: usage.core.as_secs_f64() / watched,
            process: usage.process.map(|busy| busy.as_secs_f64() / watched),
        })
    }

    /// Adds the ratio of each subject to the first one, the floor: the median of its turns.
    fn add_ratios(&mut self, subjects: &[Subject], turns: &[Vec<Cost>]) {
        for (index, subject) in subjects.iter().enumerate().skip(1) {
            let ratio = |turn: &Vec<Cost>| Some(turn.get(index)?.process? / turn.first()?.process?);
            let name = format!("cost {} {}", subject.protocol, subject.setting);
            let ratios = turns.iter().filter_map(ratio).collect();
            self.report.compared.insert(name, median(ratios));
        }
    }
}
