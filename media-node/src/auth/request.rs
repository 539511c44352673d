//! Requests to publish, play or see the list of streams, and the reasons for which they are refused.

use std::fmt;
use std::net::IpAddr;

use media_wire::StreamKey;

use super::Credential;

/// What a client wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish,
    Play,
}

impl Action {
    /// Returns the value of the label `action`, which is also the word in signatures and configuration.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A client that wants to publish or to play.
#[derive(Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    pub(crate) action: Action,
    pub(crate) stream: &'a StreamKey,
    pub(crate) credential: &'a Credential,
    pub(crate) peer: IpAddr,
    /// The client's number in the API.
    pub(crate) client: u64,
    /// The URL that the client connected to, for hooks.
    pub(crate) tc_url: &'a str,
    /// The page that embeds the player, for hooks.
    pub(crate) page_url: &'a str,
}

/// A client that wants to see the list of streams.
#[derive(Clone, Copy)]
pub(crate) struct ListRequest<'a> {
    pub(crate) credential: &'a Credential,
    pub(crate) peer: IpAddr,
    /// The one stream that the client is interested in: a signed URL is valid for one.
    pub(crate) stream: Option<&'a StreamKey>,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("this address is not allowed")]
    Address,
    #[error("a credential is needed")]
    NoCredential,
    #[error("the key does not open this stream")]
    Key,
    #[error("the signature is not valid for this stream")]
    Signature,
    #[error(
        "the signature does not cover the priority: leave it out, or sign URLs by the scheme liveCluster"
    )]
    Priority,
    #[error("the credential has expired")]
    Expired,
    #[error("the token is not valid")]
    Token,
    #[error("the token does not allow this stream")]
    Claim,
    #[error("tokens cannot be checked yet, try again later")]
    KeysUnavailable,
    #[error("the stream's owner refused")]
    Hook,
    #[error("the authorization hook does not respond, try again later")]
    HookUnavailable,
}

impl Denial {
    /// All reasons, in the order of the metrics.
    pub(crate) const ALL: [Self; 11] = [
        Self::Address,
        Self::NoCredential,
        Self::Key,
        Self::Signature,
        Self::Priority,
        Self::Expired,
        Self::Token,
        Self::Claim,
        Self::KeysUnavailable,
        Self::Hook,
        Self::HookUnavailable,
    ];

    /// Returns the value of the label `result` and of the field `reason` of HTTP answers.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::NoCredential => "no_credential",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Priority => "priority",
            Self::Expired => "expired",
            Self::Token => "token",
            Self::Claim => "claim",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Hook => "hook",
            Self::HookUnavailable => "hook_unavailable",
        }
    }

    /// Returns whether another credential could help: HTTP 401 instead of 403.
    pub(crate) fn is_unauthorized(self) -> bool {
        matches!(
            self,
            Self::NoCredential | Self::Key | Self::Signature | Self::Expired | Self::Token
        )
    }
}
