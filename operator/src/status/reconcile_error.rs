//! What keeps a cluster from being what its spec says, when it is not the nodes: shown as a condition, not retried fast.

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is.
    pub cause: Cause,
    /// What is wrong, in words.
    pub message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The spec cannot be made into objects, or the API refuses one of them.
    InvalidSpec,
    /// An object of the name that is needed belongs to somebody else.
    NameConflict,
    /// The operator may not do what it has to, or a quota forbids it.
    Forbidden,
}

impl Cause {
    /// As the reason of a condition.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::NameConflict => "NameConflict",
            Self::Forbidden => "Forbidden",
        }
    }
}
