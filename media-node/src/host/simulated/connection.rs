//! One TCP connection of the simulated network: what its ends have received, and what is on its way to them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rand::RngExt;
use rand::rngs::StdRng;

use super::in_flight::{InFlight, TcpSegment};

/// A connection. The end 0 has connected to the end 1.
pub(super) struct SimulatedConnection {
    pub(super) ends: [End; 2],
    /// Bytes that may be on their way to an end, or wait there until they are read.
    pub(super) capacity: usize,
    /// Since when the hosts cannot reach each other, or one of them not the other one.
    pub(super) blocked_since: Option<Duration>,
    /// The end that packets still reach during such an outage.
    pub(super) reached: Option<ReachedEnd>,
    /// A firewall between the hosts does not know it any more.
    pub(super) is_forgotten: bool,
    /// After an outage, when the senders send again what was lost.
    pub(super) stalled_until: Duration,
    pub(super) random: StdRng,
}

/// An end that packets reach, although those that it sends get lost.
pub(super) struct ReachedEnd {
    end: usize,
    /// Bytes that its peer still sends without an acknowledgement.
    credit: usize,
}

/// Bytes that TCP sends without an acknowledgement: its first congestion window.
const UNACKNOWLEDGED: usize = 14 << 10;

/// One end of a connection.
pub(super) struct End {
    pub(super) address: SocketAddr,
    timeouts: TcpTimeouts,
    state: EndState,
    pub(super) in_flight: InFlight,
    received: BytesMut,
    /// The peer sends no more.
    is_finished: bool,
    /// This end sends no more.
    is_shut: bool,
    /// This end is not used any more.
    is_closed: bool,
    /// It has received what the peer does not know of.
    is_unacknowledged: bool,
    readers: Option<Waker>,
    writers: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Connecting,
    Open,
    Failed(io::ErrorKind),
}

/// How long an end waits for a peer that it cannot reach, before its connection fails.
#[derive(Clone, Copy)]
pub(super) struct TcpTimeouts {
    /// With bytes that the peer does not acknowledge.
    unacknowledged: Duration,
    /// Without, by keepalive.
    idle: Duration,
}

impl TcpTimeouts {
    /// That of a media node that connects to another one, see `relay/client.rs`.
    pub(super) const RELAY: Self = Self::seconds(4, 5);
    /// That of a connection that a media node has accepted, see `internal/server.rs` and `delivery/socket.rs`.
    pub(super) const ACCEPTED: Self = Self::seconds(10, 60);
    /// That of encoders and viewers.
    pub(super) const CLIENT: Self = Self::seconds(8, 8);

    const fn seconds(unacknowledged: u64, idle: u64) -> Self {
        Self {
            unacknowledged: Duration::from_secs(unacknowledged),
            idle: Duration::from_secs(idle),
        }
    }
}

/// The tasks to wake after a change, with their hosts.
pub(super) type Wakers = Vec<(IpAddr, Waker)>;

impl End {
    pub(super) fn new(address: SocketAddr, timeouts: TcpTimeouts) -> Self {
        Self {
            address,
            timeouts,
            state: EndState::Connecting,
            in_flight: InFlight::default(),
            received: BytesMut::new(),
            is_finished: false,
            is_shut: false,
            is_closed: false,
            is_unacknowledged: false,
            readers: None,
            writers: None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns whether the connection is established, or why it is not.
    pub(super) fn established(&self) -> Option<io::Result<()>> {
        match self.state {
            EndState::Connecting => None,
            EndState::Open => Some(Ok(())),
            EndState::Failed(kind) => Some(Err(kind.into())),
        }
    }

    /// Wakes `waker` when something can be read, or the connection ends.
    pub(super) fn wake_reader(&mut self, waker: &Waker) {
        self.readers = Some(waker.clone());
    }

    /// Wakes `waker` when something can be written, or the connection ends.
    pub(super) fn wake_writer(&mut self, waker: &Waker) {
        self.writers = Some(waker.clone());
    }

    pub(super) fn open(&mut self, wakers: &mut Wakers) {
        self.state = EndState::Open;
        self.wake(wakers);
    }

    pub(super) fn fail(&mut self, kind: io::ErrorKind, wakers: &mut Wakers) {
        if !matches!(self.state, EndState::Failed(_)) {
            self.state = EndState::Failed(kind);
            self.wake(wakers);
        }
    }

    fn wake(&mut self, wakers: &mut Wakers) {
        self.wake_readers(wakers);
        self.wake_writers(wakers);
    }

    fn wake_readers(&mut self, wakers: &mut Wakers) {
        let host = self.address.ip();
        wakers.extend(self.readers.take().map(|waker| (host, waker)));
    }

    fn wake_writers(&mut self, wakers: &mut Wakers) {
        let host = self.address.ip();
        wakers.extend(self.writers.take().map(|waker| (host, waker)));
    }

    /// Returns the number of bytes that were sent to this end and not read yet.
    fn held(&self) -> usize {
        self.in_flight.bytes() + self.received.len()
    }
}

impl SimulatedConnection {
    fn pair(&mut self, end: usize) -> (&mut End, &mut End) {
        let [first, second] = &mut self.ends;
        match end {
            0 => (first, second),
            _ => (second, first),
        }
    }

    /// Returns when something arrives next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let ends = self.ends.iter().enumerate();
        let reached = ends.filter(|(end, _)| !self.is_cut_off(*end));
        let due = reached.filter_map(|(_, end)| end.in_flight.next_due());
        let due = due.min()?;
        Some(due.max(self.stalled_until))
    }

    /// Returns whether packets to one end get lost while the other one is reached, or its peer waits for acknowledgements.
    fn is_cut_off(&self, end: usize) -> bool {
        let reached = self.reached.as_ref();
        reached.is_some_and(|reached| reached.end != end || reached.credit == 0)
    }

    /// Begins an outage, in which packets only reach the end `reached`, if one.
    pub(super) fn block(&mut self, now: Duration, reached: Option<usize>) {
        self.blocked_since.get_or_insert(now);
        if self.reached.as_ref().map(|it| it.end) != reached {
            let credit = UNACKNOWLEDGED;
            self.reached = reached.map(|end| ReachedEnd { end, credit });
        }
    }

    /// Ends an outage. The senders send again after up to as long as it lasted.
    pub(super) fn unblock(&mut self, now: Duration, longest_stall: Duration) {
        let Some(since) = self.blocked_since.take() else {
            return;
        };
        self.reached = None;
        for end in &mut self.ends {
            end.is_unacknowledged = false;
        }
        let stall = self.random.random_range(0.0..1.0);
        let stall = (now - since).min(longest_stall).mul_f64(stall);
        self.stalled_until = now + stall;
    }

    /// Takes bytes that an end has received: none at the end of the stream. Returns `None` when it has to wait.
    pub(super) fn read(
        &mut self,
        end: usize,
        limit: usize,
        wakers: &mut Wakers,
    ) -> Option<io::Result<BytesMut>> {
        let (this, peer) = self.pair(end);
        if !this.received.is_empty() {
            let length = limit.min(this.received.len());
            peer.wake_writers(wakers);
            return Some(Ok(this.received.split_to(length)));
        }
        match this.state {
            EndState::Failed(kind) => Some(Err(kind.into())),
            EndState::Connecting | EndState::Open if this.is_finished => Some(Ok(BytesMut::new())),
            EndState::Connecting | EndState::Open => None,
        }
    }

    /// Returns whether [`SimulatedConnection::read`] would not have to wait.
    pub(super) fn is_readable(&self, end: usize) -> bool {
        let this = &self.ends[end];
        !this.received.is_empty() || this.is_finished || matches!(this.state, EndState::Failed(_))
    }

    /// Sends as many bytes as fit. Returns `None` when the sender has to wait.
    pub(super) fn write(
        &mut self,
        end: usize,
        mut bytes: impl Buf,
        due: Duration,
    ) -> Option<io::Result<usize>> {
        let room = self.room(end);
        let (this, peer) = self.pair(end);
        if let EndState::Failed(kind) = this.state {
            return Some(Err(kind.into()));
        }
        if this.is_shut {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = room.min(bytes.remaining());
        if length == 0 && bytes.has_remaining() {
            return None;
        }
        if length > 0 {
            peer.in_flight
                .send(due, TcpSegment::Bytes(bytes.copy_to_bytes(length)));
        }
        Some(Ok(length))
    }

    /// Returns whether [`SimulatedConnection::write`] would not have to wait.
    pub(super) fn is_writable(&self, end: usize) -> bool {
        self.room(end) > 0 || matches!(self.ends[end].state, EndState::Failed(_))
    }

    /// Returns the number of bytes that an end can send now.
    fn room(&self, end: usize) -> usize {
        let peer = &self.ends[1 - end];
        let capacity = peer.in_flight.unsent_limit.unwrap_or(self.capacity);
        capacity.min(self.capacity).saturating_sub(peer.held())
    }

    /// Ends what one end sends.
    pub(super) fn shut(&mut self, end: usize, due: Duration) {
        let (this, peer) = self.pair(end);
        if !std::mem::replace(&mut this.is_shut, true) && this.state == EndState::Open {
            peer.in_flight.send(due, TcpSegment::Finish);
        }
    }

    /// Ends the use of one end, as `close` does: the peer gets a reset if it would lose bytes that it has sent.
    pub(super) fn close(&mut self, end: usize, due: Duration) {
        let (this, _) = self.pair(end);
        this.is_closed = true;
        (this.readers, this.writers) = (None, None);
        let is_unread = !this.received.is_empty();
        this.received.clear();
        if is_unread && this.state == EndState::Open {
            self.pair(end).1.in_flight.send(due, TcpSegment::Reset)
        } else {
            self.shut(end, due)
        }
    }

    /// Resets the connection to the peer of an end whose host has restarted.
    pub(super) fn reset_peer_of(&mut self, end: usize, due: Duration) {
        self.pair(end).1.in_flight.send(due, TcpSegment::Reset);
    }

    /// Drops what a host has sent that is gone now.
    pub(super) fn lose_sent_by(&mut self, end: usize) {
        self.pair(end).1.in_flight.clear();
    }

    /// Lets arrive what is due.
    pub(super) fn deliver(&mut self, now: Duration, latency: Duration, wakers: &mut Wakers) {
        for end in 0..2 {
            while !self.is_cut_off(end)
                && let Some(segment) = self.ends[end].in_flight.take_due(now)
            {
                if let (Some(reached), TcpSegment::Bytes(bytes)) = (&mut self.reached, &segment) {
                    reached.credit = reached.credit.saturating_sub(bytes.len());
                    self.ends[end].is_unacknowledged = true;
                }
                let (this, peer) = self.pair(end);
                match segment {
                    TcpSegment::Bytes(_) if this.is_closed => {
                        peer.in_flight.send(now + latency, TcpSegment::Reset);
                    }
                    TcpSegment::Bytes(bytes) => this.received.extend_from_slice(&bytes),
                    TcpSegment::Finish => this.is_finished = true,
                    TcpSegment::Reset => this.fail(io::ErrorKind::ConnectionReset, wakers),
                }
                this.wake_readers(wakers);
                if this.is_closed {
                    peer.wake_writers(wakers);
                }
            }
        }
    }

    /// Fails the ends whose timeouts an outage of this length exceeds. The peer of such an end is reset after the outage.
    pub(super) fn expire(&mut self, outage: Duration, now: Duration, wakers: &mut Wakers) {
        for end in 0..2 {
            let (this, peer) = self.pair(end);
            let limit = if peer.in_flight.is_empty() && !peer.is_unacknowledged {
                this.timeouts.idle
            } else {
                this.timeouts.unacknowledged
            };
            if outage >= limit && this.state == EndState::Open && !this.is_closed {
                this.fail(io::ErrorKind::TimedOut, wakers);
                peer.in_flight.clear();
                peer.in_flight.send(now, TcpSegment::Reset);
            }
        }
    }
}
