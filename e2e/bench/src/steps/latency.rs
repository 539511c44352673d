//! The time from an encoder to a viewer, alone and among others, and from a viewer's connecting to its first frame.
//!
//! A shared computer slows everything down for a tenth of a second now and then. So all servers run at the same time, and their viewers
//! come in turns, as for costs. A figure is the median of its turns, and a ratio is of one turn.

use anyhow::Result;

use super::subject::{STREAM, Subject};
use super::{Bench, median};
use crate::clip::Sizes;
use crate::histogram::Histogram;
use crate::report::Row;
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
        let mut subjects = vec![Subject::floor(&floor, every)];
        let (mut nodes, mut encoders) = (Vec::new(), Vec::new());
        for interval in [Interval::Default, every] {
            let node = self.media_node(interval)?;
            encoders.push(self.encoder(&node.publish_url(STREAM), Sizes::NORMAL)?);
            subjects.push(Subject::media_node(&node, PlayProtocol::Flv, interval));
            nodes.push(node);
        }
        for other in &self.against {
            encoders.push(self.encoder(&other.publish_url(STREAM), Sizes::NORMAL)?);
            subjects.push(Subject::other(other));
        }
        self.latency_of_joins(&subjects)?;
        for viewers in std::iter::once(1).chain(self.plan.audiences.clone()) {
            self.latency_among(viewers, &subjects)?;
        }
        encoders.iter().try_for_each(|it| it.assert_connected())
    }

    fn latency_of_joins(&mut self, subjects: &[Subject]) -> Result<()> {
        for subject in subjects {
            let Subject {
                server,
                setting,
                url,
                ..
            } = subject;
            let watching = self.probes(url, 1)?;
            let first = self.first_frames(url, JOINS)?;
            watching.assert_faultless()?;
            self.add_durations(["latency", server, "first frame", setting], 1, &first);
        }
        Ok(())
    }

    /// Measures each subject in each turn with so many viewers, and adds its row.
    fn latency_among(&mut self, viewers: usize, subjects: &[Subject]) -> Result<()> {
        let mut turns = Vec::new();
        for _ in 0..self.plan.turns {
            let measure = |it: &Subject| self.latency_with(viewers, &it.url);
            turns.push(subjects.iter().map(measure).collect::<Result<Vec<_>>>()?);
        }
        for (index, subject) in subjects.iter().enumerate() {
            let turns: Vec<_> = turns
                .iter()
                .filter_map(|turn| Some((turn.first()?, turn.get(index)?)))
                .collect();
            let quantile = |share| {
                let all = turns.iter().map(|(_, it)| milliseconds(it, share));
                median(all.collect())
            };
            let to_floor = |share| {
                let all = turns
                    .iter()
                    .map(|(floor, it)| milliseconds(it, share) / milliseconds(floor, share));
                median(all.collect())
            };
            self.report.add(Row {
                step: "latency".to_owned(),
                server: subject.server.clone(),
                protocol: "each frame".to_owned(),
                setting: subject.setting.clone(),
                viewers,
                figures: vec![
                    ("median ms", quantile(0.5)),
                    ("p99 ms", quantile(0.99)),
                    ("median to floor", to_floor(0.5)),
                    ("p99 to floor", to_floor(0.99)),
                ],
            });
        }
        Ok(())
    }

    /// Measures a stream that is published, in one turn.
    fn latency_with(&self, viewers: usize, url: &str) -> Result<Histogram> {
        let probes = PROBES.min(viewers);
        let others = self.crowd(url, viewers - probes)?;
        let probes = self.probes(url, probes)?;
        let latency = self.latency_of(&probes, self.plan.window)?;
        others.assert_faultless()?;
        Ok(latency)
    }
}

fn milliseconds(latency: &Histogram, share: f64) -> f64 {
    latency.quantile(share).as_secs_f64() * 1000.0
}
