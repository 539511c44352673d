//! Instructions of a media node for each frame that a viewer receives, and how many writes it makes for it.
//!
//! Time scatters on a computer that others use as well, these counts do not. A media node with a few viewers is counted, then one with
//! more of them: the difference is what the others took. Instructions of the kernel are not counted, and a viewer's joining is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::writes;
use crate::report::Row;
use crate::server::{PlayProtocol, Server};

/// Viewers of both media nodes.
const FEW: usize = 5;

/// More viewers of the second media node. A slow core writes every message to them, although valgrind runs the media node.
const MORE: usize = 20;

/// How long all of them watch.
const SPAN: Duration = Duration::from_secs(8);

/// What a media node has done.
#[derive(Clone, Copy, Debug)]
struct Work {
    instructions: u64,
    writes: u64,
    /// Frames that the further viewers have received.
    frames: u64,
}

impl Bench {
    pub(super) fn instructions(&mut self) -> Result<()> {
        let few = self.work(None)?;
        for protocol in self.plan.protocols.clone() {
            let more = self.work(Some(protocol))?;
            ensure!(
                more.frames > 0,
                "viewers by {protocol} have received nothing"
            );
            let of_frame =
                |more: u64, few: u64, frames| more.saturating_sub(few) as f64 / frames as f64;
            let instructions = of_frame(more.instructions, few.instructions, more.frames);
            let writes = of_frame(more.writes, few.writes, more.frames);
            self.report.add(Row {
                step: "instructions".to_owned(),
                server: MEDIA_NODE.to_owned(),
                protocol: protocol.to_string(),
                setting: "a frame".to_owned(),
                viewers: MORE,
                figures: vec![("instructions", instructions), ("writes", writes)],
            });
            let compared = &mut self.report.compared;
            compared.insert(format!("instructions {protocol}"), instructions);
            compared.insert(format!("instructions {protocol}, writes"), writes);
        }
        Ok(())
    }

    /// Counts a media node with few viewers and, if a protocol is given, more of them.
    fn work(&self, more: Option<PlayProtocol>) -> Result<Work> {
        let node = Server::counted(&self.cores, &self.media_node)?;
        let encoder = self.encoder(&node.publish_url("work"), Sizes::NORMAL)?;
        let few = self.crowd(&node.play_url(PlayProtocol::Flv, "work"), FEW)?;
        let more = more.map(|protocol| self.crowd(&node.play_url(protocol, "work"), MORE));
        let more = more.transpose()?;
        std::thread::sleep(SPAN);
        let frames = more.as_ref().map_or(0, |more| more.received().frames);
        let writes = writes(node.process())?;
        for crowd in [Some(&few), more.as_ref()].into_iter().flatten() {
            crowd.assert_faultless()?;
        }
        encoder.assert_connected()?;
        drop((few, more, encoder));
        let instructions = node.stop_counting(&self.media_node);
        Ok(Work {
            instructions: instructions.context("count instructions")?,
            writes,
            frames,
        })
    }
}
