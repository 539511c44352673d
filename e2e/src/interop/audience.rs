//! Viewers of one stream on every node, by RTMP and by HTTP-FLV at the same time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::nodes::Nodes;
use crate::media::comparison::{From, compare_within};
use crate::media::recording::Recording;
use crate::media::viewer::{Seen, Viewer};

/// One viewer on each node by each protocol.
#[derive(Debug)]
pub(super) struct Audience {
    viewers: Vec<(Viewer, From)>,
}

/// A node that is not published to has to find the stream first.
const FOUND_WITHIN: u32 = 5_000;

/// In this time a viewer's node has asked the origins.
const ASKED: Duration = Duration::from_secs(1);

impl Audience {
    /// Viewers who are there before the encoder, which publishes to the node of this number.
    pub(super) fn early(nodes: &Nodes, stream: &str, home: usize) -> Self {
        Self::of(nodes, stream, |node| {
            if node == home {
                From::Start
            } else {
                From::Within(FOUND_WITHIN)
            }
        })
    }

    /// Viewers who have asked every node for the stream long before the encoder comes: they get all of it, wherever it is
    /// published and wherever they are.
    pub(super) async fn waiting(nodes: &Nodes, stream: &str) -> Self {
        let audience = Self::of(nodes, stream, |_| From::Start);
        tokio::time::sleep(ASKED).await;
        audience
    }

    /// Viewers who come when the stream is there.
    pub(super) fn late(nodes: &Nodes, stream: &str) -> Self {
        Self::of(nodes, stream, |_| From::Keyframe)
    }

    fn of(nodes: &Nodes, stream: &str, from: impl Fn(usize) -> From) -> Self {
        let numbered = || nodes.all.iter().enumerate();
        let http =
            numbered().map(|(number, node)| (Viewer::http(&node.http(stream)), from(number)));
        let rtmp =
            numbered().map(|(number, node)| (Viewer::rtmp(&node.rtmp(stream)), from(number)));
        Self {
            viewers: http.chain(rtmp).collect(),
        }
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }

    /// Each of them.
    pub(super) fn viewers(&mut self) -> impl Iterator<Item = &mut Viewer> {
        self.viewers.iter_mut().map(|(viewer, _)| viewer)
    }

    /// Waits until each of them has seen what is wanted.
    pub(super) async fn until(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        for viewer in self.viewers() {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            viewer.until(what, left, &wanted).await?;
        }
        Ok(())
    }

    /// Fails when one of them was let go.
    pub(super) fn is_connected(&self) -> Result<()> {
        self.viewers
            .iter()
            .try_for_each(|(viewer, _)| viewer.is_connected())
    }

    /// Fails unless all are told of the end in time, and have got what was sent; how many packets were compared.
    pub(super) async fn got(&mut self, sent: &Recording, within: Duration) -> Result<usize> {
        self.got_about(0, sent, within).await
    }

    /// As [`Self::got`], where time may be off by so many milliseconds.
    pub(super) async fn got_about(
        &mut self,
        tolerance: u32,
        sent: &Recording,
        within: Duration,
    ) -> Result<usize> {
        self.ended(within).await?;
        let mut packets = 0;
        for (viewer, from) in &self.viewers {
            let compared = compare_within(tolerance, sent, &viewer.recording(), *from);
            packets += compared.with_context(|| viewer.name().to_owned())?;
        }
        Ok(packets)
    }

    /// Waits until all are told of the end, each of them well.
    pub(super) async fn ended(&mut self, within: Duration) -> Result<()> {
        ensure!(!self.viewers.is_empty(), "nobody watches");
        let deadline = tokio::time::Instant::now() + within;
        for viewer in self.viewers() {
            viewer
                .end(deadline.saturating_duration_since(tokio::time::Instant::now()))
                .await?;
        }
        Ok(())
    }
}
