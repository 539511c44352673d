//! Faults that tests plant, so that they can prove that the explorer finds each kind.

use std::time::Duration;

use media_wire::Message;

use super::media::AUDIO;
use crate::host::simulated::network::Tamper as NetworkTamper;

/// A fault in what a viewer receives, as if a relay had caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tamper {
    pub(super) kind: TamperKind,
    /// Number of messages that pass before.
    pub(super) after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TamperKind {
    Repeat,
    Tear,
    Lose,
    TurnBackTime,
    /// It comes late, and so do all after it.
    Delay,
}

/// How late [`TamperKind::Delay`] lets messages come.
pub(super) const DELAYED: Duration = Duration::from_secs(4);

impl Tamper {
    /// Returns whether the next message comes late.
    pub(super) fn is_delayed(self) -> bool {
        self.kind == TamperKind::Delay && self.after == 1
    }

    /// Returns what comes instead of a message.
    pub(super) fn apply(&mut self, mut message: Message) -> Vec<Message> {
        let Some(left) = self.after.checked_sub(1) else {
            return vec![message];
        };
        self.after = left;
        match self.kind {
            _ if left > 0 => vec![message],
            TamperKind::Delay => vec![message],
            TamperKind::Repeat => vec![message.clone(), message],
            TamperKind::Tear => {
                message.payload.truncate(message.payload.len() - 1);
                vec![message]
            }
            TamperKind::Lose => Vec::new(),
            TamperKind::TurnBackTime => {
                message.timestamp = message.timestamp.saturating_sub(500);
                vec![message]
            }
        }
    }
}

/// A fault that is planted into a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Planted {
    #[default]
    Nothing,
    /// What viewers receive is changed.
    Tampered(Tamper),
    /// A client stays when all are to leave, as one that a media node forgets would.
    Leak,
    /// A connection stays open when all clients have left.
    Connection,
    /// A media node has another task than at its start when all clients have left.
    Task,
    /// Something holds a media node in memory that has ended.
    Remains,
    /// Media nodes that others have replaced do not drain.
    NotDrained,
    /// Media nodes do not learn that they have too little memory for their windows.
    IgnoredMemory,
    /// A task of a media node panics.
    Panic,
    /// Two encoders count as on air.
    SecondOnAir,
    /// Encoders get the status that another one has taken over, although none has.
    Superseded,
    /// What is on air is judged as if the epochs of media nodes went back.
    Outdated,
    /// Encoders have to be rejected while another one is on air, and take over.
    NotRejected,
    /// Media nodes send messages to each other in the wrong order.
    Reordered,
    /// Origins announce each publication to each other with the wrong epoch, one that is long over.
    NotAnnounced,
    /// Media nodes repeat the last keyframe of streams that wait for an encoder, which viewers do not expect.
    Stills,
    /// Origins do not say what other media nodes need of a publication, so that they get all of the window.
    NeedsUnknown,
    /// Edges know RTMP servers by a port that is another one.
    ServerLost,
    /// Media nodes keep windows of [`LONG_WINDOW_SECONDS`], whatever is configured.
    LongWindow,
}

pub(super) const LONG_WINDOW_SECONDS: u32 = 60;

/// Exchanges two audio frames that media nodes send each other, if both are among these bytes. Returns whether they are.
fn exchange_audio(bytes: &mut [u8]) -> bool {
    let is_frame = |at: &usize| {
        let payload = bytes.get(at + TAG_HEADER..at + TAG_HEADER + AUDIO);
        // An FLV tag begins with its kind, and the length of its payload.
        let is_audio = payload.is_some_and(|payload| payload.starts_with(&[0xAF, 1]));
        is_audio && bytes[*at..].starts_with(&[8, 0, 0]) && usize::from(bytes[at + 3]) == AUDIO
    };
    let mut frames = (0..bytes.len()).filter(is_frame);
    let (Some(first), Some(second)) = (frames.next(), frames.next()) else {
        return false;
    };
    let (before, after) = bytes.split_at_mut(second + TAG_HEADER);
    let first = &mut before[first + TAG_HEADER..][..AUDIO];
    first.swap_with_slice(&mut after[..AUDIO]);
    true
}

/// Makes an announcement of a publication one of the epoch 0. Returns whether these bytes are an announcement.
fn forget_epoch(bytes: &mut [u8]) -> bool {
    let is_announcement = bytes.starts_with(b"POST /relay/v1/supersede?");
    let epoch = bytes.windows(EPOCH.len()).position(|it| it == EPOCH);
    let Some(epoch) = epoch.filter(|_| is_announcement) else {
        return false;
    };
    let digits = bytes[epoch + EPOCH.len()..].iter_mut();
    digits
        .take_while(|it| it.is_ascii_digit())
        .for_each(|it| *it = b'0');
    true
}

const EPOCH: &[u8] = b"epoch=";

/// Makes the number of media nodes that need something zero in an origin's reply. Returns whether these bytes have one.
fn forget_needs(bytes: &mut [u8]) -> bool {
    let nodes = bytes.windows(NODES.len()).position(|it| it == NODES);
    let Some(nodes) = nodes else {
        return false;
    };
    let digits = bytes[nodes + NODES.len()..].iter_mut();
    digits
        .take_while(|it| it.is_ascii_digit())
        .for_each(|it| *it = b'0');
    true
}

const NODES: &[u8] = b"\"needed\":{\"nodes\":";

/// Bytes of the header of an FLV tag.
const TAG_HEADER: usize = 11;

impl Planted {
    pub(super) fn tamper(self) -> Option<Tamper> {
        match self {
            Self::Tampered(tamper) => Some(tamper),
            _ => None,
        }
    }

    /// Returns what changes bytes that are sent.
    pub(super) fn tamper_of_network(self) -> Option<NetworkTamper> {
        match self {
            Self::Reordered => Some(exchange_audio),
            Self::NotAnnounced => Some(forget_epoch),
            Self::NeedsUnknown => Some(forget_needs),
            _ => None,
        }
    }
}
