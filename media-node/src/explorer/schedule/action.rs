//! What happens in a schedule, and how its encoders and viewers behave.

use std::time::Duration;

use crate::explorer::socket::wide;
use crate::host::simulated::network::{ConnectionRoom, DnsState};

#[derive(Clone, Debug)]
pub(in super::super) struct Event {
    pub(in super::super) at: Duration,
    pub(in super::super) action: ScheduledAction,
}

/// A host of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    Node(usize),
    Clients,
}

/// What happens. What does not apply, such as the start of what runs, does nothing.
#[derive(Clone, Debug)]
pub(in super::super) enum ScheduledAction {
    /// The process of a media node is killed.
    Kill(usize),
    /// The host of a media node loses its power.
    Lose(usize),
    Drain(usize),
    /// Another media node takes the place of one, which drains from then on.
    Replace(usize),
    Start {
        node: usize,
        new_address: bool,
    },
    /// The process of a media node stops, with its connections open.
    Hang(usize),
    Resume(usize),
    Cut(Place, Place),
    /// Packets from one host to another one get lost, and none of those back.
    CutOneWay(Place, Place),
    Mend(Place, Place),
    /// A firewall between two hosts forgets their connections. New ones work.
    Forget(Place, Place),
    /// Packets take this much longer.
    Delay(Place, Place, Duration),
    /// So many bytes pass in a second between two hosts, in each direction, or as many as they send.
    Narrow(Place, Place, Option<u32>),
    Dns(DnsState),
    /// The clock of a media node's host jumps, forward or back, to so much ahead of the right time.
    SetClock(usize, Duration),
    /// A media node has this many bytes of memory for media, or more than it needs.
    LimitMemory(usize, Option<usize>),
    /// A media node disconnects all of its clients, as it does those whose key is revoked.
    Revoke(usize),
    Publish {
        encoder: usize,
        stream: usize,
        node: usize,
        settings: EncoderSettings,
    },
    EndEncoder(usize, EncoderEnd),
    Watch {
        viewer: usize,
        stream: usize,
        node: usize,
        settings: ViewerSettings,
    },
    Leave(usize),
}

/// How an encoder publishes. By default it has the encoding of no other one, and begins with a keyframe at zero.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct EncoderSettings {
    /// Its sequence headers are those of others, and the same on each connection.
    pub(in super::super) is_same_encoding: bool,
    /// Among encoders that stand by for each other.
    pub(in super::super) priority: u8,
    /// The timestamp that its clock begins with.
    pub(in super::super) first_timestamp: u32,
    /// The number of its first frame. Most begin with a keyframe, others in a group of pictures.
    pub(in super::super) first_number: u32,
}

/// How an encoder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum EncoderEnd {
    /// It ends the stream.
    Finish,
    /// Its connection is closed.
    Crash,
    /// It sends nothing more, and keeps its connection open.
    Freeze,
}

/// How a viewer watches.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ViewerSettings {
    pub(in super::super) protocol: Protocol,
    pub(in super::super) is_tls: bool,
    /// Time that it takes for each message.
    pub(in super::super) pause: Duration,
    /// Time in which it takes nothing once, after its first messages.
    pub(in super::super) rest: Duration,
    pub(in super::super) room: ConnectionRoom,
}

impl ViewerSettings {
    /// Returns those of a viewer that takes each message as it comes.
    pub(in super::super) fn plain(protocol: Protocol) -> Self {
        Self {
            protocol,
            is_tls: false,
            pause: Duration::ZERO,
            rest: Duration::ZERO,
            room: wide(64 << 10),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    Rtmp,
    Flv,
    WebSocket,
}
