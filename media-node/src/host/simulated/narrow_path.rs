//! A narrow path of the simulated network: what is sent over it leaves its host in pieces, those of several connections in turn.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What is narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NarrowLink {
    /// The path from one host to another one, which their connections share.
    Path([Ipv4Addr; 2]),
    /// The path to the client of a connection.
    Client(u64),
}

/// A path with less room than hosts may send.
pub(super) struct NarrowPath {
    pub(super) bytes_per_second: u32,
    /// When the next piece may leave.
    free_at: Duration,
    turns: VecDeque<Turn>,
}

/// A connection that waits, with the end that it sends to.
pub(super) type Turn = (u64, usize);

impl NarrowPath {
    pub(super) fn new(bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second,
            free_at: Duration::ZERO,
            turns: VecDeque::new(),
        }
    }

    /// Returns the bytes of one connection that are on the way, or wait at their sender: those of a second.
    pub(super) fn buffer(&self) -> usize {
        usize::try_from(self.bytes_per_second).unwrap_or(usize::MAX)
    }

    /// Lets a connection wait for its turn, unless it does.
    pub(super) fn wait(&mut self, turn: Turn, now: Duration) {
        if self.turns.is_empty() {
            self.free_at = self.free_at.max(now);
        }
        if !self.turns.contains(&turn) {
            self.turns.push_back(turn);
        }
    }

    /// Returns whose turn it is by now.
    pub(super) fn take_turn(&mut self, now: Duration) -> Option<Turn> {
        if self.free_at > now {
            return None;
        }
        self.turns.pop_front()
    }

    /// Sends so many bytes. Returns when they have left.
    pub(super) fn send(&mut self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.free_at += Duration::from_secs(bytes.into()) / self.bytes_per_second;
        self.free_at
    }

    /// Lets a connection that has more to send wait for its next turn.
    pub(super) fn wait_again(&mut self, turn: Turn) {
        self.turns.push_back(turn);
    }

    /// Returns when the next piece may leave.
    pub(super) fn next_turn(&self) -> Option<Duration> {
        (!self.turns.is_empty()).then_some(self.free_at)
    }
}
