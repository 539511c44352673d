//! Faults that tests plant, so that they can prove that the explorer finds each kind.

use std::time::Duration;

use media_wire::Message;

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
    /// Two encoders count as on air.
    SecondOnAir,
    /// Encoders are told that another one has taken over, although none has.
    Superseded,
    /// Encoders have to be rejected while another one is on air, and take over.
    NotRejected,
}

impl Planted {
    pub(super) fn tamper(self) -> Option<Tamper> {
        match self {
            Self::Tampered(tamper) => Some(tamper),
            _ => None,
        }
    }
}
