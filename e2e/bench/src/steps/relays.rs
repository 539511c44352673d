//! What an origin takes for many edges that pull one stream, and for as many that pull nothing. Its viewers are the comparison.

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::{CoreSet, Meter, memory};
use crate::crowd::{Behaviour, Crowd};
use crate::report::Row;
use crate::server::{Interval, PlayProtocol, Server};

impl Bench {
    pub(super) fn relays(&mut self) -> Result<()> {
        let origin = self.media_node(Interval::Default)?;
        let encoder = self.encoder(&origin.publish_url("relays"), Sizes::NORMAL)?;
        self.usage_of(&origin, "alone", 0)?;
        let viewers = self.crowd(
            &origin.play_url(PlayProtocol::Flv, "relays"),
            self.plan.edges,
        )?;
        self.usage_of(&origin, "viewers", self.plan.edges)?;
        drop(viewers);
        let mut edges = Vec::new();
        for _ in 0..self.plan.edges {
            let edge = Server::edge(&self.cores, CoreSet::Load, &self.media_node, &origin)?;
            edges.push(edge);
        }
        self.usage_of(&origin, "edges that pull nothing", edges.len())?;
        let urls: Vec<_> = edges
            .iter()
            .map(|edge| edge.play_url(PlayProtocol::Flv, "relays"))
            .collect();
        let crowd = Crowd::start(self.crowds.handle(), urls.into_iter(), Behaviour::default());
        crowd.wait_until_all_watch()?;
        self.usage_of(&origin, "edges", edges.len())?;
        crowd.assert_faultless()?;
        encoder.assert_connected()
    }

    /// Adds the CPU time and memory of an origin while so many `clients` are connected.
    fn usage_of(&mut self, origin: &Server, clients: &str, count: usize) -> Result<()> {
        let meter = Meter::start(self.cores.server, Some(origin.process()))?;
        std::thread::sleep(self.plan.window);
        let usage = meter.stop()?;
        let busy = usage.process.unwrap_or_default().as_secs_f64();
        self.report.add(Row {
            step: "relays".to_owned(),
            server: MEDIA_NODE.to_owned(),
            protocol: clients.to_owned(),
            setting: Interval::Default.to_string(),
            viewers: count,
            figures: vec![
                ("process %", 100.0 * busy / usage.elapsed.as_secs_f64()),
                ("MiB", memory(origin.process())? as f64 / f64::from(1 << 20)),
            ],
        });
        Ok(())
    }
}
