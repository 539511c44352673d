//! Phase of a media node's life. The server sets it; the HTTP ports read it.

/// Phase of a media node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serves.
    Running,
    /// Drains and still accepts connections, until load balancers have stopped sending new ones.
    LameDuck,
    /// Accepts no connection, serves the open ones.
    Closing,
}
