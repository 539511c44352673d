//! The memory of a viewer: growth of the process from a thousand viewers to many.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEDIA_NODE};
use crate::clip::Sizes;
use crate::cores::memory;
use crate::report::Row;
use crate::server::Interval;

/// Viewers beside which the growth is measured.
const FIRST: usize = 1_000;

/// Until everything that is needed once has been allocated.
const SETTLE: Duration = Duration::from_secs(3);

impl Bench {
    /// Measures a media node by each protocol, and other servers whose process is known.
    pub(super) fn memory(&mut self) -> Result<()> {
        let interval = Interval::Milliseconds(350);
        for protocol in self.plan.protocols.clone() {
            let node = self.media_node(interval)?;
            let encoder = self.encoder(&node.publish_url("memory"), Sizes::RARE)?;
            let url = node.play_url(protocol, "memory");
            let kibibytes = self.memory_of(&url, node.process(), |figures, viewers| Row {
                step: "memory".to_owned(),
                server: MEDIA_NODE.to_owned(),
                protocol: protocol.to_string(),
                setting: interval.to_string(),
                viewers,
                figures,
            })?;
            encoder.assert_connected()?;
            let name = format!("memory {protocol}");
            self.report.compared.insert(name, kibibytes);
        }
        for other in self.against.clone() {
            let Some(process) = other.process else {
                continue;
            };
            let encoder = self.encoder(&other.publish_url("memory"), Sizes::RARE)?;
            self.memory_of(&other.play_url("memory"), process, |figures, viewers| Row {
                step: "memory".to_owned(),
                server: other.name.clone(),
                protocol: other.protocol().to_owned(),
                setting: "its own".to_owned(),
                viewers,
                figures,
            })?;
            encoder.assert_connected()?;
        }
        Ok(())
    }

    /// Measures a stream that is published. Returns the memory of a viewer in KiB.
    fn memory_of(
        &mut self,
        url: &str,
        process: u32,
        row: impl FnOnce(Vec<(&'static str, f64)>, usize) -> Row,
    ) -> Result<f64> {
        let (viewers, more) = (self.plan.many_viewers, self.plan.many_viewers - FIRST);
        let first = self.crowd(url, FIRST)?;
        std::thread::sleep(SETTLE);
        let before = memory(process)?;
        let others = self.crowd(url, more)?;
        std::thread::sleep(SETTLE);
        let after = memory(process)?;
        first.assert_faultless()?;
        others.assert_faultless()?;
        let kibibytes = after.saturating_sub(before) as f64 / 1024.0 / more as f64;
        let in_all = after as f64 / f64::from(1 << 20);
        let figures = vec![("KiB a viewer", kibibytes), ("MiB in all", in_all)];
        self.report.add(row(figures, viewers));
        Ok(kibibytes)
    }
}
