//! The methods of one action, and the order in which they judge.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use media_config::{AccessSettings, JwtSettings};
use media_wire::StreamKey;

use super::background::Refreshed;
use super::cidr::Cidrs;
use super::fetch::FetchClient;
use super::hook::{Hook, HookInstance};
use super::jwt::{KeySet, KeySetSource, RemoteKeySet, TokenProof, Tokens};
use super::keys::{self, KeyProof, Keys};
use super::mounted::{MountError, Mounted};
use super::request::{AccessRequest, Action, ListRequest};
use super::signed_url::{Signed, SignedUrls, SigningKeyProof};
use super::streams::Streams;
use super::{AuthError, Credential, Denial};

/// The methods of one action.
pub(super) struct Access {
    action: Action,
    cidrs: Cidrs,
    keys: Option<Arc<Keys>>,
    signed_urls: Option<Arc<SignedUrls>>,
    tokens: Option<Arc<Tokens>>,
    pub(super) hook: Option<Hook>,
}

/// How a client proved that it is allowed. Its connection ends when the proof no longer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its address alone.
    Address,
    Key(KeyProof),
    SignedUrl(SigningKeyProof),
    Token(TokenProof),
}

impl Proof {
    /// Returns the maximum bitrate of a publisher, in kilobits per second.
    pub(super) fn max_publish_kbps(&self) -> Option<u32> {
        match self {
            Self::Token(proof) => proof.max_publish_kbps,
            Self::Address | Self::Key(_) | Self::SignedUrl(_) => None,
        }
    }
}

/// The method that a credential is made for.
enum Method<'a> {
    Key(&'a Keys, &'a str),
    SignedUrl(&'a SignedUrls),
    Token(&'a Tokens, &'a str),
}

/// The streams that a list may show.
pub(crate) struct Listing<'a>(Shown<'a>);

enum Shown<'a> {
    All,
    /// The streams of the key files with these names.
    Key(HashSet<String>),
    /// The stream that a URL is signed for.
    One(&'a StreamKey),
    /// The streams that a token allows.
    Token(Streams),
}

impl Listing<'_> {
    /// Returns whether the list may show every stream.
    pub(crate) fn shows_all(&self) -> bool {
        matches!(self.0, Shown::All)
    }

    /// Returns whether the list may show a stream.
    pub(crate) fn shows(&self, stream: &StreamKey) -> bool {
        match &self.0 {
            Shown::All => true,
            Shown::Key(files) => keys::open_stream(files, stream),
            Shown::One(one) => *one == stream,
            Shown::Token(streams) => streams.contains(stream),
        }
    }
}

impl Access {
    pub(super) fn new(
        action: Action,
        settings: &AccessSettings,
        instance: &HookInstance,
    ) -> Result<Self, AuthError> {
        let cidrs = Cidrs::new(&settings.cidrs).map_err(|error| AuthError::Cidr {
            action,
            field: error.field,
            text: error.entry,
        })?;
        let keys = settings.keys.as_ref().map(|keys| {
            let directory = &keys.directory;
            Keys::open(directory).map_err(mounting(action, "keys.directory", directory))
        });
        let signed_urls = settings.signed_urls.as_ref().map(|urls| {
            let directory = &urls.directory;
            SignedUrls::open(directory, urls.rules.clone()).map_err(mounting(
                action,
                "signedUrls.directory",
                directory,
            ))
        });
        let tokens = settings.jwt.as_ref().map(|jwt| tokens(action, jwt));
        let hook = settings.hook.as_ref().map(|hook| {
            Hook::new(action, hook, instance).map_err(|reason| AuthError::Invalid {
                action,
                field: "hook.url",
                reason,
            })
        });
        Ok(Self {
            action,
            cidrs,
            keys: keys.transpose()?.map(Arc::new),
            signed_urls: signed_urls.transpose()?.map(Arc::new),
            tokens: tokens.transpose()?.map(Arc::new),
            hook: hook.transpose()?,
        })
    }

    /// Returns whether every client may do everything.
    pub(super) fn is_open(&self) -> bool {
        self.cidrs.is_empty() && !self.needs_credential()
    }

    /// Returns the sources of keys that are read again from time to time.
    pub(super) fn sources(&self) -> Vec<Refreshed> {
        let mut sources = Vec::new();
        if let Some(keys) = &self.keys {
            sources.push(Refreshed::Files(Arc::clone(keys) as _));
        }
        if let Some(urls) = &self.signed_urls {
            sources.push(Refreshed::Files(Arc::clone(urls) as _));
        }
        match self.tokens.as_ref().map(|tokens| &tokens.keys) {
            Some(KeySetSource::File(file)) => sources.push(Refreshed::Files(Arc::clone(file) as _)),
            Some(KeySetSource::Url(remote)) => sources.push(Refreshed::Remote(Arc::clone(remote))),
            None => {}
        }
        sources
    }

    /// Judges a client by its address and credential; `None` when only the hook can decide.
    pub(super) fn judge(
        &self,
        request: &AccessRequest<'_>,
        now: u64,
    ) -> Option<Result<Proof, Denial>> {
        if !self.cidrs.allows(request.peer) {
            return Some(Err(Denial::Address));
        }
        match self.method(request.credential) {
            Some(method) => Some(self.judge_by(&method, request, now)),
            None if self.hook.is_some() => None,
            None if self.needs_credential() => Some(Err(Denial::NoCredential)),
            None => Some(Ok(Proof::Address)),
        }
    }

    fn judge_by(
        &self,
        method: &Method<'_>,
        request: &AccessRequest<'_>,
        now: u64,
    ) -> Result<Proof, Denial> {
        match method {
            Method::Key(keys, key) => {
                let proof = keys.judge(request.stream, key).ok_or(Denial::Key)?;
                Ok(Proof::Key(proof))
            }
            Method::SignedUrl(urls) => {
                let mut signed = self.signed(request.stream, request.peer);
                if self.action == Action::Publish {
                    signed.priority = request.credential.parameter("priority");
                }
                let proof = urls.judge(request.credential, signed, now)?;
                Ok(Proof::SignedUrl(proof))
            }
            Method::Token(tokens, token) => {
                let token = tokens.judge(token)?;
                if !token.streams(self.action).contains(request.stream) {
                    return Err(Denial::Claim);
                }
                Ok(Proof::Token(token.proof))
            }
        }
    }

    /// Returns the streams that a client may see in a list.
    pub(super) fn list<'a>(
        &'a self,
        request: &ListRequest<'a>,
        now: u64,
    ) -> Result<Listing<'a>, Denial> {
        if !self.cidrs.allows(request.peer) {
            return Err(Denial::Address);
        }
        match self.method(request.credential) {
            None if self.needs_credential() => Err(Denial::NoCredential),
            None => Ok(Listing(Shown::All)),
            Some(Method::Key(keys, key)) => match keys.files_with(key) {
                files if files.is_empty() => Err(Denial::Key),
                files => Ok(Listing(Shown::Key(files))),
            },
            Some(Method::SignedUrl(urls)) => {
                let stream = request.stream.ok_or(Denial::NoCredential)?;
                urls.judge(request.credential, self.signed(stream, request.peer), now)?;
                Ok(Listing(Shown::One(stream)))
            }
            Some(Method::Token(tokens, token)) => {
                let token = tokens.judge(token)?;
                match token.streams(self.action).clone() {
                    none if none.is_empty() => Err(Denial::Claim),
                    streams => Ok(Listing(Shown::Token(streams))),
                }
            }
        }
    }

    /// Returns whether the proof of a client that was allowed still holds.
    pub(super) fn holds(&self, proof: &Proof) -> bool {
        match proof {
            Proof::Address => true,
            Proof::Key(proof) => self.keys.as_ref().is_some_and(|keys| keys.holds(proof)),
            Proof::SignedUrl(proof) => {
                let urls = self.signed_urls.as_ref();
                urls.is_some_and(|urls| urls.holds(proof))
            }
            Proof::Token(proof) => {
                let tokens = self.tokens.as_ref();
                tokens.is_some_and(|tokens| tokens.holds(proof))
            }
        }
    }

    fn needs_credential(&self) -> bool {
        self.keys.is_some()
            || self.signed_urls.is_some()
            || self.tokens.is_some()
            || self.hook.is_some()
    }

    /// Returns the method that the credential is made for.
    fn method<'a>(&'a self, credential: &'a Credential) -> Option<Method<'a>> {
        if let (Some(tokens), Some(token)) = (&self.tokens, credential.token()) {
            return Some(Method::Token(tokens, token));
        }
        if let Some(urls) = &self.signed_urls
            && urls.recognizes(credential)
        {
            return Some(Method::SignedUrl(urls));
        }
        let keys = self.keys.as_ref()?;
        Some(Method::Key(keys, credential.key()?))
    }

    fn signed<'a>(&self, stream: &'a StreamKey, peer: IpAddr) -> Signed<'a> {
        Signed {
            action: self.action,
            stream,
            peer,
            priority: None,
        }
    }
}

fn tokens(action: Action, settings: &JwtSettings) -> Result<Tokens, AuthError> {
    let invalid = |field, reason| AuthError::Invalid {
        action,
        field,
        reason,
    };
    let source = match (&settings.jwks_file, &settings.jwks_url) {
        (Some(path), None) => {
            let file = Mounted::open(path, KeySet::of_file).map_err(mounting(
                action,
                "jwt.jwksFile",
                path,
            ))?;
            KeySetSource::File(Arc::new(file))
        }
        (None, Some(url)) => {
            let client = FetchClient::new(url, settings.ca_file.as_deref())
                .map_err(|reason| invalid("jwt.jwksUrl", reason))?;
            KeySetSource::Url(Arc::new(RemoteKeySet::new(client)))
        }
        _ => {
            let reason = "give either jwksFile or jwksUrl".to_owned();
            return Err(invalid("jwt", reason));
        }
    };
    Ok(Tokens::new(source, settings))
}

fn mounting(
    action: Action,
    field: &'static str,
    path: &Path,
) -> impl FnOnce(MountError) -> AuthError {
    let path = path.to_owned();
    move |error| match error {
        MountError::Read(source) => AuthError::Read {
            action,
            field,
            path,
            source,
        },
        MountError::Invalid(reason) => AuthError::Invalid {
            action,
            field,
            reason,
        },
    }
}
