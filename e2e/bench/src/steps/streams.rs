//! Many streams of 250 kbit/s with two viewers each: the server's core and memory.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::{Meter, memory};
use crate::crowd::{Behaviour, Crowd};
use crate::report::Row;
use crate::server::{Interval, PlayProtocol, Server};

const VIEWERS_OF_EACH: usize = 2;

/// Until the log of each stream has its full length.
const SETTLE: Duration = Duration::from_secs(12);

impl Bench {
    /// Measures a media node as it is, with one interval, and with logs of the newest group of pictures alone, as other servers
    /// have. After that, other servers.
    pub(super) fn streams(&mut self) -> Result<()> {
        let slow = Interval::Milliseconds(350).settings();
        let short = format!("{slow}, windowSeconds: 1");
        for (setting, settings) in [
            ("default", String::new()),
            ("350 ms", slow),
            ("350 ms, 1 s", short),
        ] {
            let node = Server::with_stream_settings(&self.cores, &self.media_node, &settings)?;
            self.streams_of(
                [MEDIA_NODE, setting],
                |stream| node.publish_url(stream),
                |stream| node.play_url(PlayProtocol::Flv, stream),
                node.process(),
            )?;
        }
        for other in self.against.clone() {
            let Some(process) = other.process else {
                continue;
            };
            self.streams_of(
                [&other.name, "its own"],
                |stream| other.publish_url(stream),
                |stream| other.play_url(stream),
                process,
            )?;
        }
        Ok(())
    }

    fn streams_of(
        &mut self,
        [server, setting]: [&str; 2],
        publish_url: impl Fn(&str) -> String,
        play_url: impl Fn(&str) -> String,
        process: u32,
    ) -> Result<()> {
        let names: Vec<String> = (0..self.plan.streams)
            .map(|n| format!("stream-{n}"))
            .collect();
        let mut encoders = Vec::new();
        for name in &names {
            encoders.push(self.encoder(&publish_url(name), Sizes::SMALL)?);
        }
        let urls = names.iter().map(|name| play_url(name));
        let urls = urls.flat_map(|url| std::iter::repeat_n(url, VIEWERS_OF_EACH));
        let crowd = Crowd::start(self.crowds.handle(), urls, Behaviour::default());
        crowd.wait_until_all_watch()?;
        std::thread::sleep(SETTLE);
        let meter = Meter::start(self.cores.server, Some(process))?;
        std::thread::sleep(self.plan.window);
        let usage = meter.stop()?;
        let memory = memory(process)?;
        crowd.assert_faultless()?;
        encoders
            .iter()
            .try_for_each(|encoder| encoder.assert_connected())?;
        let per_cent = |busy: Duration| 100.0 * busy.as_secs_f64() / usage.elapsed.as_secs_f64();
        self.report.add(Row {
            step: "streams".to_owned(),
            server: server.to_owned(),
            protocol: format!("{} streams", self.plan.streams),
            setting: setting.to_owned(),
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
