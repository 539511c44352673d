//! Many streams of 250 kbit/s with two viewers each: the server's core and memory.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::{Meter, memory};
use crate::crowd::{Behaviour, Crowd};
use crate::report::Row;
use crate::server::{Interval, Protocol};

const VIEWERS_OF_EACH: usize = 2;

/// Until the log of each stream has its full length.
const SETTLE: Duration = Duration::from_secs(12);

impl Bench {
    pub(super) fn streams(&mut self) -> Result<()> {
        let node = self.media_node(Interval::Default)?;
        let names: Vec<String> = (0..self.plan.streams)
            .map(|n| format!("stream-{n}"))
            .collect();
        let mut encoders = Vec::new();
        for name in &names {
            encoders.push(self.encoder(&node.publish_url(name), Sizes::SMALL)?);
        }
        let urls = names.iter().map(|name| node.play_url(Protocol::Flv, name));
        let urls = urls.flat_map(|url| std::iter::repeat_n(url, VIEWERS_OF_EACH));
        let crowd = Crowd::start(self.crowds.handle(), urls, Behaviour::default());
        crowd.wait_until_all_watch()?;
        std::thread::sleep(SETTLE);
        let meter = Meter::start(self.cores.server, Some(node.process()))?;
        std::thread::sleep(self.plan.window);
        let usage = meter.stop()?;
        let memory = memory(node.process())?;
        crowd.assert_faultless()?;
        encoders
            .iter()
            .try_for_each(|encoder| encoder.assert_connected())?;
        let per_cent = |busy: Duration| 100.0 * busy.as_secs_f64() / usage.elapsed.as_secs_f64();
        self.report.add(Row {
            step: "streams".to_owned(),
            server: MEDIA_NODE.to_owned(),
            protocol: Protocol::Flv.to_string(),
            setting: format!("{} streams", self.plan.streams),
            viewers: self.plan.streams * VIEWERS_OF_EACH,
            figures: vec![
                ("core %", per_cent(usage.core)),
                ("process %", per_cent(usage.process.unwrap_or_default())),
                ("MiB in all", memory as f64 / f64::from(1 << 20)),
            ],
        });
        Ok(())
    }
}
