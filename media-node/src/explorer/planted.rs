//! Faults that tests plant, so that they can prove that the explorer finds each kind.

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
}

impl Tamper {
    /// Returns what comes instead of a message.
    pub(super) fn apply(&mut self, mut message: Message) -> Vec<Message> {
        let Some(left) = self.after.checked_sub(1) else {
            return vec![message];
        };
        self.after = left;
        match self.kind {
            _ if left > 0 => vec![message],
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
    /// Two encoders count as on air.
    SecondOnAir,
}

impl Planted {
    pub(super) fn tamper(self) -> Option<Tamper> {
        match self {
            Self::Tampered(tamper) => Some(tamper),
            Self::Nothing | Self::Leak | Self::SecondOnAir => None,
        }
    }
}
