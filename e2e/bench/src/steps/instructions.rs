//! Instructions of a media node for each frame that a viewer receives, and how many writes it makes for it.
//!
//! Time scatters on a computer that others use as well, these counts do not: the encoder sends a frame when all viewers have received the one
//! before, so that each frame is written to each viewer, however slow the media node is. A media node is counted that delivers many
//! frames, then one that delivers a few and runs as long: the difference is what the others took, with their way in, without what a
//! media node does from time to time anyway. Instructions of the kernel are not counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::Semaphore;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::writes;
use crate::crowd::Crowd;
use crate::encoder::{LoadEncoder, Pace};
use crate::report::Row;
use crate::server::{PlayProtocol, Server};

/// Viewers of both media nodes. The more there are, the less counts a task of the media node that ran once more in one of them.
const VIEWERS: usize = 60;

/// Frames of the two media nodes.
const FRAMES: [usize; 2] = [10, 210];

/// A frame of each track, so that viewers can join.
const FIRST_FRAMES: usize = 2;

/// Until all viewers have received a frame.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a media node has done.
#[derive(Clone, Copy, Debug)]
struct Work {
    instructions: u64,
    writes: u64,
    /// For how long the media node has run.
    time: Duration,
}

impl Bench {
    pub(super) fn instructions(&mut self) -> Result<()> {
        let [few, many] = FRAMES;
        let deliveries = ((many - few) * VIEWERS) as f64;
        for protocol in self.plan.protocols.clone() {
            let many = self.work(protocol, many, Duration::ZERO)?;
            let few = self.work(protocol, few, many.time)?;
            let of_frame = |few: u64, many: u64| many.saturating_sub(few) as f64 / deliveries;
            let instructions = of_frame(few.instructions, many.instructions);
            let writes = of_frame(few.writes, many.writes);
            self.report.add(Row {
                step: "instructions".to_owned(),
                server: MEDIA_NODE.to_owned(),
                protocol: protocol.to_string(),
                setting: "a frame".to_owned(),
                viewers: VIEWERS,
                figures: vec![("instructions", instructions), ("writes", writes)],
            });
            let compared = &mut self.report.compared;
            compared.insert(format!("instructions {protocol}"), instructions);
            compared.insert(format!("instructions {protocol}, writes"), writes);
        }
        Ok(())
    }

    /// Counts a media node that delivers so many frames to each viewer and runs for `min_time`, or for as long as that takes.
    fn work(&self, protocol: PlayProtocol, frames: usize, min_time: Duration) -> Result<Work> {
        let start = Instant::now();
        let node = Server::counted(&self.cores, &self.media_node)?;
        let permits = Arc::new(Semaphore::new(FIRST_FRAMES));
        let pace = Pace::Permits(Arc::clone(&permits));
        let url = node.publish_url("work");
        let encoder = LoadEncoder::start(self.probes.handle(), &url, Sizes::NORMAL, pace)?;
        let crowd = self.crowd(&node.play_url(protocol, "work"), VIEWERS)?;
        for frame in FIRST_FRAMES..frames {
            permits.add_permits(1);
            wait_for_frames(&crowd, frame + 1)?;
        }
        let writes = writes(node.process())?;
        std::thread::sleep(min_time.saturating_sub(start.elapsed()));
        let time = start.elapsed();
        encoder.assert_connected()?;
        drop((crowd, encoder));
        let instructions = node.stop_counting(&self.media_node);
        Ok(Work {
            instructions: instructions.context("count instructions")?,
            writes,
            time,
        })
    }
}

/// Waits until each viewer has received so many frames.
fn wait_for_frames(crowd: &Crowd, frames: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while crowd.received().frames < (VIEWERS * frames) as u64 {
        crowd.assert_faultless()?;
        ensure!(Instant::now() < deadline, "viewers wait for frame {frames}");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
