//! What is on its way to one end of a connection, or waits at its peer because the path is narrow.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

#[derive(Debug)]
pub(super) enum TcpSegment {
    Bytes(Bytes),
    Finish,
    Reset,
}

impl TcpSegment {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Finish | Self::Reset => 0,
        }
    }
}

/// The segments that were sent to an end and have not arrived.
#[derive(Default)]
pub(super) struct InFlight {
    /// When each arrives.
    arriving: VecDeque<(Duration, TcpSegment)>,
    /// What waits at the peer, and when it would arrive otherwise.
    unsent: VecDeque<(Duration, TcpSegment)>,
    /// Bytes that the peer holds at most, if the path is narrow.
    pub(super) unsent_limit: Option<usize>,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.arriving.is_empty() && self.unsent.is_empty()
    }

    /// Returns the number of all bytes.
    pub(super) fn bytes(&self) -> usize {
        let all = self.arriving.iter().chain(&self.unsent);
        all.map(|(_, segment)| segment.len()).sum()
    }

    /// Returns when something arrives next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.arriving.front().map(|(due, _)| *due)
    }

    /// Takes what has arrived first by now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<TcpSegment> {
        let next = self.arriving.pop_front_if(|(due, _)| *due <= now)?;
        Some(next.1)
    }

    pub(super) fn send(&mut self, due: Duration, segment: TcpSegment) {
        match segment {
            // What waits is dropped.
            TcpSegment::Reset => {
                self.unsent.clear();
                self.arrive(due, segment);
            }
            _ if self.unsent_limit.is_some() => self.unsent.push_back((due, segment)),
            _ => self.arrive(due, segment),
        }
    }

    fn arrive(&mut self, due: Duration, segment: TcpSegment) {
        let last = self.arriving.back().map_or(due, |(last, _)| *last);
        self.arriving.push_back((due.max(last), segment));
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.arriving.clear();
        self.unsent.clear();
    }

    /// Limits what waits at the peer, or lets all of it go.
    pub(super) fn limit_unsent(&mut self, limit: Option<usize>, now: Duration) {
        self.unsent_limit = limit;
        if limit.is_none() {
            for (due, segment) in std::mem::take(&mut self.unsent) {
                self.arrive(due.max(now), segment);
            }
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Returns the bytes of the next piece of what waits, of `limit` at most.
    pub(super) fn next_piece(&self, limit: usize) -> usize {
        let next = self.unsent.front();
        next.map_or(0, |(_, segment)| segment.len().min(limit))
    }

    /// Sends the next piece of what waits, which arrives at this time at the earliest.
    pub(super) fn send_piece(&mut self, limit: usize, due: Duration) {
        let Some((otherwise, segment)) = self.unsent.pop_front() else {
            return;
        };
        let segment = match segment {
            TcpSegment::Bytes(mut bytes) if bytes.len() > limit => {
                let piece = bytes.split_to(limit);
                self.unsent
                    .push_front((otherwise, TcpSegment::Bytes(bytes)));
                TcpSegment::Bytes(piece)
            }
            segment => segment,
        };
        self.arrive(due.max(otherwise), segment);
    }
}
