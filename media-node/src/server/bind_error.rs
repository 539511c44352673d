//! Why a media node cannot start. The messages name the field of the configuration that is to be changed.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

/// Reason that a media node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A port is in use.
    #[error(
        "{field}: port {} of {} is in use by another program; stop that program or choose another port in {field}",
        address.port(), address.ip()
    )]
    InUse {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A port below 1024 needs a privilege that the process lacks.
    #[error("{field}: not allowed to listen on {address}; choose a port above 1023 in {field}")]
    NotAllowed {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// The address is not one of this host, or the system refuses for another reason.
    #[error("{field}: cannot listen on {address}; choose an address of this host in {field}")]
    Listen {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// The threads that serve connections cannot be started.
    #[error("workers: cannot start the worker threads")]
    Workers(#[source] io::Error),
    /// Other hosts could reach the internal port, which asks for no token.
    #[error(
        "listen.internal: {0} can be reached from other hosts, which need a token; set identity.secretFile, or choose a loopback address"
    )]
    Exposed(SocketAddr),
    /// Another part of the configuration is invalid, or names a file that cannot be used. The message names the field.
    #[error("{0}")]
    Invalid(String),
}

impl BindError {
    /// Wraps an error whose message names the field.
    pub(super) fn invalid(error: impl Display) -> Self {
        Self::Invalid(error.to_string())
    }
}
