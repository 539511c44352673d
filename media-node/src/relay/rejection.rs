//! Why the cluster rejects an encoder's publication.

/// The reason for which an encoder may not publish, or may not continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishRejection {
    /// The policy is `reject`, and the stream has a publication in the cluster.
    #[error("the stream is already published")]
    AlreadyPublished,
    /// A newer publication of the stream started elsewhere.
    #[error("a newer publication took over")]
    Superseded,
    /// No origin has memory for another stream.
    #[error("no origin has memory for another stream")]
    OutOfMemory,
    /// The origins have as many streams as they may, of all encoders or of this one's address.
    #[error("the origins have as many streams as they may, of all encoders or of your address")]
    TooManyStreams,
    /// An edge reaches no origin.
    #[error("no origin can be reached")]
    NoOrigin,
}
