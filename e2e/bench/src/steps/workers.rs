//! CPU time of a viewer when a media node has two workers, as a multiple of what it is with one, and the same of the floor's threads.
//!
//! All of them run on all cores, beside the same load: what two cores cost each other in the kernel, and by the load, is in the floor's
//! ratio as well. What the media node's workers cost each other is its ratio above the floor's.

use anyhow::Result;

use super::subject::{STREAM, Subject};
use super::{Bench, median};
use crate::clip::Sizes;
use crate::encoder::LoadEncoder;
use crate::report::Row;
use crate::server::{Interval, PlayProtocol, Server};

const INTERVAL: Interval = Interval::Milliseconds(100);

/// The servers with the same number of workers.
struct Servers {
    floor: Server,
    node: Server,
    encoder: LoadEncoder,
}

impl Bench {
    pub(super) fn workers(&mut self) -> Result<()> {
        let (one, two) = (self.servers_with(1)?, self.servers_with(2)?);
        let pairs = [
            [&one, &two].map(|it| Subject::floor(&it.floor, INTERVAL)),
            [&one, &two].map(|it| Subject::media_node(&it.node, PlayProtocol::Flv, INTERVAL)),
            [&one, &two].map(|it| Subject::media_node(&it.node, PlayProtocol::Rtmp, INTERVAL)),
        ];
        let mut turns = Vec::new();
        for _ in 0..self.plan.turns {
            let ratio = |[one, two]: &[Subject; 2]| {
                anyhow::Ok(self.process_cost(two)? / self.process_cost(one)?)
            };
            turns.push(pairs.iter().map(ratio).collect::<Result<Vec<_>>>()?);
        }
        one.encoder.assert_connected()?;
        two.encoder.assert_connected()?;
        for (index, [subject, _]) in pairs.iter().enumerate() {
            let ratios = turns.iter().filter_map(|turn| turn.get(index).copied());
            self.report.add(Row {
                step: "workers".to_owned(),
                server: subject.server.clone(),
                protocol: subject.protocol.clone(),
                setting: subject.setting.clone(),
                viewers: self.plan.viewers,
                figures: vec![("two workers to one", median(ratios.collect()))],
            });
        }
        Ok(())
    }

    fn servers_with(&self, workers: usize) -> Result<Servers> {
        let node = Server::on_all_cores(&self.cores, &self.media_node, INTERVAL, workers)?;
        Ok(Servers {
            floor: Server::floor_on_all_cores(&self.cores, INTERVAL, workers)?,
            encoder: self.encoder(&node.publish_url(STREAM), Sizes::NORMAL)?,
            node,
        })
    }
}
