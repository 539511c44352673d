//! A media node with a memory limit, as in a container, and more streams than fit beside full windows. All encoders start at the same time.
//! Viewers watch by HTTP-FLV and RTMP, half of them late, and others read nothing. The kernel must not kill it. Viewers whose encoder was
//! lost do not count as failed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::memory;
use crate::crowd::{Behaviour, Crowd};
use crate::encoder::{LoadEncoder, Pace};
use crate::memory_group::MemoryGroup;
use crate::report::{Report, Row};
use crate::server::{PlayProtocol, Server};
use crate::viewer::Idle;

/// How the memory is filled.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Pressure {
    /// Step pressure: memory limit of the media node in mebibytes.
    #[arg(long, default_value_t = 512)]
    memory_mebibytes: u64,
    /// Step pressure: encoders of 4 Mbit/s, with five viewers each.
    #[arg(long, default_value_t = 300)]
    encoders: usize,
    /// Step pressure: encoders begin with 1 Mbit/s and have 8 Mbit/s after a minute.
    #[arg(long)]
    growing: bool,
    /// Step pressure: seconds that it lasts.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

/// The viewers of a stream.
const VIEWERS: [PlayProtocol; 5] = [
    PlayProtocol::Flv,
    PlayProtocol::Rtmp,
    PlayProtocol::Flv,
    PlayProtocol::Rtmp,
    PlayProtocol::Flv,
];

/// Streams for each viewer that reads nothing.
const STREAMS_PER_IDLE: usize = 2;

/// Until each encoder was accepted or refused.
const ANSWERS: Duration = Duration::from_secs(8);

const JOINS_PER_SECOND: u32 = 100;

/// A media node disconnects a viewer that reads nothing after 30 s.
const IDLE_ROUND: Duration = Duration::from_secs(25);

/// Time between two looks at the memory.
const ROUND: Duration = Duration::from_millis(100);

/// Looks for each line of progress.
const ROUNDS_PER_LINE: u32 = 50;

/// The highest values that were seen, in bytes.
#[derive(Debug, Default)]
struct Peak {
    group: f64,
    sockets: f64,
    process: f64,
    media: f64,
}

/// A media node in a control group, and what was seen of it.
struct PressedNode {
    node: Server,
    group: MemoryGroup,
    peak: Peak,
}

impl Bench {
    pub(super) fn pressure(&mut self) -> Result<()> {
        let plan = self.plan.pressure;
        let group = MemoryGroup::new(plan.memory_mebibytes << 20)?;
        let mut watched = PressedNode {
            node: Server::in_group(&self.cores, &self.media_node, &group)?,
            group,
            peak: Peak::default(),
        };
        let mut encoders = self.encoders(&watched.node);
        watched.watch(&self.report, ANSWERS)?;
        let (on_air, refused): (Vec<_>, Vec<_>) =
            (0..plan.encoders).partition(|number| !encoders[*number].has_ended());
        if let Some(first) = refused.first() {
            let error = encoders[*first].error(self.probes.handle());
            self.report
                .say(&format!("the first encoder that is refused: {error:#}"));
        }
        let mut crowds = Vec::new();
        for protocols in [&VIEWERS[..3], &VIEWERS[3..]] {
            crowds.push(self.join(&watched.node, &on_air, protocols));
            let end = Instant::now() + Duration::from_secs(plan.seconds / 2);
            while Instant::now() < end {
                let urls = on_air.iter().step_by(STREAMS_PER_IDLE);
                let urls = urls.map(|it| watched.node.play_url(PlayProtocol::Flv, &name(*it)));
                let _idle = Idle::connect(urls)?;
                let left = end.saturating_duration_since(Instant::now());
                watched.watch(&self.report, left.min(IDLE_ROUND))?;
            }
        }
        let (lost, kept): (Vec<usize>, Vec<usize>) =
            on_air.iter().partition(|it| encoders[**it].has_ended());
        if let Some(first) = lost.first() {
            let error = encoders[*first].error(self.probes.handle());
            self.report
                .say(&format!("the first encoder that was lost: {error:#}"));
        }
        let kept: HashSet<_> = kept
            .into_iter()
            .flat_map(|it| VIEWERS.map(|protocol| watched.node.play_url(protocol, &name(it))))
            .collect();
        let faults = crowds.iter().flat_map(Crowd::faults);
        let is_of_kept = |fault: &String| {
            let url = fault.split_once(": ").map(|(url, _)| url);
            url.is_some_and(|url| kept.contains(url))
        };
        let faults: Vec<_> = faults.filter(is_of_kept).collect();
        if let Some(first) = faults.first() {
            self.report
                .say(&format!("the first viewer that failed: {first}"));
        }
        let mut figures = vec![
            ("refused", refused.len() as f64),
            ("lost", lost.len() as f64),
            ("failed viewers", faults.len() as f64),
        ];
        figures.extend(watched.figures()?);
        self.report.add(Row {
            step: "pressure".to_owned(),
            server: MEDIA_NODE.to_owned(),
            protocol: format!("{} streams", on_air.len()),
            setting: format!("{} MiB", plan.memory_mebibytes),
            viewers: on_air.len() * VIEWERS.len(),
            figures,
        });
        Ok(())
    }

    /// Starts all encoders at the same time.
    fn encoders(&self, node: &Server) -> Vec<LoadEncoder> {
        let Pressure {
            encoders, growing, ..
        } = self.plan.pressure;
        let sizes = if growing {
            Sizes::GROWING
        } else {
            Sizes::LARGE
        };
        let begin = |number| {
            let url = node.publish_url(&name(number));
            LoadEncoder::begin(self.probes.handle(), &url, sizes, Pace::Clip)
        };
        (0..encoders).map(begin).collect()
    }

    /// Starts a viewer of each stream by each protocol.
    fn join(&self, node: &Server, streams: &[usize], protocols: &[PlayProtocol]) -> Crowd {
        let urls: Vec<_> = streams
            .iter()
            .flat_map(|number| {
                protocols
                    .iter()
                    .map(move |it| node.play_url(*it, &name(*number)))
            })
            .collect();
        let behaviour = Behaviour {
            joins_per_second: JOINS_PER_SECOND,
            ..Behaviour::default()
        };
        Crowd::start(self.crowds.handle(), urls.into_iter(), behaviour)
    }
}

fn name(number: usize) -> String {
    format!("stream-{number}")
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

impl PressedNode {
    /// Measures for a time. Fails when the media node ends.
    fn watch(&mut self, report: &Report, span: Duration) -> Result<()> {
        let end = Instant::now() + span;
        let mut rounds = 0_u32;
        while Instant::now() < end {
            let peak = &mut self.peak;
            let kills = self.group.kills()?;
            ensure!(kills == 0, "the kernel has killed the media node: {peak:?}");
            self.node.assert_running()?;
            let (usage, sockets) = self.group.usage()?;
            let [media] = self.node.metrics(["live_media_memory_bytes"])?;
            let now = [
                usage as f64,
                sockets.unwrap_or_default() as f64,
                memory(self.node.process())? as f64,
                media,
            ];
            let highest = [
                &mut peak.group,
                &mut peak.sockets,
                &mut peak.process,
                &mut peak.media,
            ];
            for (highest, now) in highest.into_iter().zip(now) {
                *highest = highest.max(now);
            }
            if rounds.is_multiple_of(ROUNDS_PER_LINE) {
                let [group, sockets, process, media] = now.map(mebibytes);
                report.say(&format!(
                    "MiB: group {group:.0}, of it sockets {sockets:.0}; process {process:.0}, of it media {media:.0}"
                ));
            }
            rounds += 1;
            std::thread::sleep(ROUND);
        }
        Ok(())
    }

    fn figures(&self) -> Result<Vec<(&'static str, f64)>> {
        let names = ["live_segments_evicted_early_total", "live_memory_pressure"];
        let [evicted, pressure] = self.node.metrics(names)?;
        Ok(vec![
            ("group MiB", mebibytes(self.peak.group)),
            ("sockets MiB", mebibytes(self.peak.sockets)),
            ("process MiB", mebibytes(self.peak.process)),
            ("media MiB", mebibytes(self.peak.media)),
            ("evicted early", evicted),
            ("pressure", pressure),
        ])
    }
}
