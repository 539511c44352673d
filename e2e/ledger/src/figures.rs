//! What viewers lost, counted.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use e2e::media::{Packet, Recording, Seen};

use super::audience::{Audience, ViewerProtocol};

/// What an encoder has sent.
pub(crate) struct Sent {
    pub(crate) recording: Recording,
    /// When another encoder took its place. Viewers may get what it sent afterwards.
    pub(crate) superseded: Option<Instant>,
}

/// The figures of each protocol: the worst of its viewers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures(pub(crate) BTreeMap<ViewerProtocol, ProtocolFigures>);

/// What happened to one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProtocolFigures {
    /// Messages of the encoder that it has not received.
    pub(crate) lost: usize,
    /// Messages that it has received again on one connection.
    pub(crate) repeated: usize,
    /// The longest time without a video frame, or without an audio frame where there is no video.
    pub(crate) gap: Duration,
    /// Connections that ended.
    pub(crate) disconnected: usize,
    /// The longest time from its request to the first frame of a viewer that joined meanwhile.
    pub(crate) joining: Duration,
}

impl Figures {
    /// Compares what was sent up to `end` with what the audience has seen.
    pub(crate) fn of(sent: &[Sent], audience: &Audience, end: Instant) -> Self {
        let mut all = Self::default();
        for watcher in audience.watchers() {
            let figures = ProtocolFigures::of(sent, &watcher.seen(), end);
            all.add(watcher.protocol, figures);
        }
        for join in audience.joins() {
            let first_frame = join.first_frame().unwrap_or(end).min(end);
            let figures = ProtocolFigures {
                joining: first_frame.saturating_duration_since(join.start),
                ..ProtocolFigures::default()
            };
            all.add(join.protocol, figures);
        }
        all
    }

    /// Keeps the worse of each figure.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (protocol, figures) in &other.0 {
            self.add(*protocol, *figures);
        }
    }

    fn add(&mut self, protocol: ViewerProtocol, other: ProtocolFigures) {
        let figures = self.0.entry(protocol).or_default();
        *figures = figures.worse(other);
    }
}

impl ProtocolFigures {
    fn worse(self, other: Self) -> Self {
        Self {
            lost: self.lost.max(other.lost),
            repeated: self.repeated.max(other.repeated),
            gap: self.gap.max(other.gap),
            disconnected: self.disconnected.max(other.disconnected),
            joining: self.joining.max(other.joining),
        }
    }

    /// Compares what was sent with what one viewer has seen on its connections.
    fn of(sent: &[Sent], seen: &[Seen], end: Instant) -> Self {
        let received: Vec<Vec<Packet>> = seen.iter().map(|it| it.recording.frames()).collect();
        let distinct = |packets: &Vec<Packet>| {
            let distinct: HashSet<u64> = packets.iter().map(|it| it.hash).collect();
            distinct.len()
        };
        Self {
            lost: lost(sent, seen, end).len(),
            repeated: received.iter().map(|it| it.len() - distinct(it)).sum(),
            gap: longest_gap(&received, end).map_or(Duration::ZERO, |(gap, _)| gap),
            disconnected: seen
                .iter()
                .filter(|it| it.accepted && it.end.is_some())
                .count(),
            joining: Duration::ZERO,
        }
    }
}

/// Returns what one viewer has not received, from the first message that it has.
fn lost(sent: &[Sent], seen: &[Seen], end: Instant) -> Vec<Packet> {
    let received = seen.iter().flat_map(|it| it.recording.frames());
    let arrived: HashSet<u64> = received.map(|it| it.hash).collect();
    let due = sent.iter().flat_map(|it| {
        let until = it.superseded.map_or(end, |at| at.min(end));
        let frames = it.recording.frames().into_iter();
        frames.filter(move |frame| frame.at < until)
    });
    let since_first = due.skip_while(|it| !arrived.contains(&it.hash));
    since_first
        .filter(|it| !arrived.contains(&it.hash))
        .collect()
}

/// Returns lines with the longest gap of each viewer, and with each message that it lost, in seconds before the end.
pub(crate) fn describe(sent: &[Sent], audience: &Audience, end: Instant) -> String {
    let before = |at: Instant| format!("{:.3} s before the end", (end - at).as_secs_f64());
    let mut lines = String::new();
    for (number, watcher) in audience.watchers().iter().enumerate() {
        let (protocol, seen) = (watcher.protocol, watcher.seen());
        let received: Vec<Vec<Packet>> = seen.iter().map(|it| it.recording.frames()).collect();
        if let Some((gap, after)) = longest_gap(&received, end) {
            let at = before(after - gap);
            lines.push_str(&format!(
                "viewer {number} ({protocol:?}): nothing for {gap:.2?}, from {at}\n"
            ));
        }
        for packet in lost(sent, &seen, end) {
            let at = before(packet.at);
            lines.push_str(&format!(
                "viewer {number} ({protocol:?}): lost {packet:?}, {at}\n"
            ));
        }
    }
    lines
}

/// Returns the longest gap and its end.
fn longest_gap(received: &[Vec<Packet>], end: Instant) -> Option<(Duration, Instant)> {
    let frames = || received.iter().flatten();
    let has_video = frames().any(Packet::is_video_frame);
    let shown = frames().filter(|it| it.is_video_frame() == has_video);
    let mut times: Vec<Instant> = shown.map(|it| it.at).filter(|at| *at < end).collect();
    times.push(end);
    times.sort_unstable();
    let gaps = times.iter().zip(times.iter().skip(1));
    gaps.map(|(before, after)| (*after - *before, *after)).max()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (protocol, figures) in &self.0 {
            let ProtocolFigures {
                lost,
                repeated,
                gap,
                disconnected,
                joining,
            } = figures;
            let [gap, joining] = [gap, joining].map(Duration::as_secs_f64);
            write!(
                f,
                "{protocol:?} lost {lost}, repeated {repeated}, gap {gap:.2} s, disconnected {disconnected}, joining {joining:.2} s; "
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media_wire::{MediaKind, Message};

    use super::*;

    /// Frames of these numbers, 40 ms apart.
    fn recording(numbers: &[u8], start: Instant) -> Recording {
        let mut recording = Recording::default();
        for number in numbers {
            recording.push(&Message {
                kind: MediaKind::Video,
                timestamp: 0,
                payload: Bytes::copy_from_slice(&[0x27, 1, 0, 0, 0, *number]),
            });
        }
        for (packet, number) in recording.packets.iter_mut().zip(numbers) {
            packet.at = start + Duration::from_millis(40) * u32::from(*number);
        }
        recording
    }

    #[test]
    fn lost_repeated_gap_and_disconnects_are_counted() {
        let start = Instant::now();
        let sent = [&[0, 1, 2, 3, 4, 5][..], &[6, 7, 8, 9]].map(|numbers| Sent {
            recording: recording(numbers, start),
            superseded: None,
        });
        let connection = |numbers: &[u8], is_cut: bool| Seen {
            accepted: true,
            recording: recording(numbers, start),
            end: is_cut.then(|| (start, Err("closed".to_owned()))),
        };
        let end = start + Duration::from_millis(365);
        let complete = [connection(&[2, 3, 4, 5, 6, 7, 8, 9], false)];
        let figures = ProtocolFigures::of(&sent, &complete, end);
        assert_eq!((figures.lost, figures.repeated), (0, 0));
        // It joins again, and gets two frames of its first connection once more, which is no repetition.
        let broken = [
            connection(&[1, 2, 2, 3], true),
            connection(&[2, 3, 7, 8, 9], false),
        ];
        let expected = ProtocolFigures {
            lost: 3,
            repeated: 1,
            gap: Duration::from_millis(160),
            disconnected: 1,
            joining: Duration::ZERO,
        };
        assert_eq!(ProtocolFigures::of(&sent, &broken, end), expected);
    }
}
