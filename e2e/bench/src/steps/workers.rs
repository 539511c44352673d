//! CPU time of a viewer when a media node has two workers, as a multiple of what it is with one. Both run on all cores, beside the same
//! load, so that the difference is what two cores cost each other.

use anyhow::Result;

use super::subject::{STREAM, Subject};
use super::{Bench, MEDIA_NODE, median};
use crate::clip::Sizes;
use crate::report::Row;
use crate::server::{Interval, PlayProtocol, Server};

const WORKERS: [usize; 2] = [1, 2];

impl Bench {
    pub(super) fn workers(&mut self) -> Result<()> {
        let interval = Interval::Milliseconds(100);
        let (mut nodes, mut encoders) = (Vec::new(), Vec::new());
        for workers in WORKERS {
            let node = Server::on_all_cores(&self.cores, &self.media_node, interval, workers)?;
            encoders.push(self.encoder(&node.publish_url(STREAM), Sizes::NORMAL)?);
            nodes.push(node);
        }
        for protocol in [PlayProtocol::Flv, PlayProtocol::Rtmp] {
            let subjects = nodes
                .iter()
                .map(|node| Subject::media_node(node, protocol, interval));
            let subjects: Vec<Subject> = subjects.collect();
            let mut ratios = Vec::new();
            for _ in 0..self.plan.turns {
                let costs = subjects.iter().map(|it| self.process_cost(it));
                if let [one, two] = costs.collect::<Result<Vec<_>>>()?[..] {
                    ratios.push(two / one);
                }
            }
            self.report.add(Row {
                step: "workers".to_owned(),
                server: MEDIA_NODE.to_owned(),
                protocol: protocol.to_string(),
                setting: interval.to_string(),
                viewers: self.plan.viewers,
                figures: vec![("two workers to one", median(ratios))],
            });
        }
        encoders
            .iter()
            .try_for_each(|encoder| encoder.assert_connected())
    }
}
