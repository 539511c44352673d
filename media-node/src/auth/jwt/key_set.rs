//! JSON Web Key Sets: where they are read from, and which key a token was signed with.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::auth::fetch::{FetchClient, FetchError};
use crate::auth::keys::{KeyDigest, lines};
use crate::auth::mounted::{Files, Mounted};

/// The maximum number of keys of a set. The largest providers publish a few dozen.
const MAX_KEYS: usize = 256;

/// The minimum bytes of a shared secret: the length of its signatures (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;

/// The keys that have an id.
#[derive(Default)]
pub(in crate::auth) struct KeySet(Vec<Key>);

/// A set as it is published.
#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

/// One key.
pub(super) struct Key {
    kid: String,
    /// The only algorithm of the key, where the set names one.
    algorithm: Option<String>,
    pub(super) decoding: DecodingKey,
    /// Identifies the key while a client that used it is connected.
    pub(super) digest: KeyDigest,
}

/// Where the key set is from.
pub(in crate::auth) enum KeySetSource {
    File(Arc<Mounted<KeySet>>),
    Url(Arc<RemoteKeySet>),
}

/// When a key set is fetched from its address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeySetTimings {
    /// Pause after a fetch.
    pub refresh: Duration,
    /// Pause after a fetch that failed.
    pub retry: Duration,
    /// Time that a fetch may take.
    pub timeout: Duration,
}

impl Default for KeySetTimings {
    fn default() -> Self {
        Self {
            // A new key counts within a minute.
            refresh: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

/// A key set behind an address. The last good one is kept.
pub(in crate::auth) struct RemoteKeySet {
    client: FetchClient,
    /// `None` until the first answer.
    current: RwLock<Option<Arc<KeySet>>>,
}

impl KeySet {
    /// Reads the only file of a mount.
    pub(in crate::auth) fn of_file(files: &Files) -> Result<Self, String> {
        let content = files.values().next().ok_or("the file is missing")?;
        Self::parse(content)
    }

    /// Reads the shared secrets of the only file of a mount, one a line.
    pub(in crate::auth) fn of_secrets(files: &Files) -> Result<Self, String> {
        let content = files.values().next().ok_or("the file is missing")?;
        let secrets: Vec<_> = lines(content).collect();
        if secrets.is_empty() || secrets.iter().any(|secret| secret.len() < MIN_SECRET) {
            return Err(format!("each line needs at least {MIN_SECRET} bytes"));
        }
        let keys = secrets.into_iter().take(MAX_KEYS).map(Key::shared);
        Ok(Self(keys.collect()))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Published = serde_json::from_slice(text)
            .map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        // RFC 7517, section 5: keys that are not understood are ignored.
        let known = set
            .keys
            .into_iter()
            .filter_map(|key| Jwk::deserialize(key).ok());
        let keys = known.filter_map(|jwk| Key::new(&jwk).transpose());
        let keys: Result<Vec<Key>, String> = keys.take(MAX_KEYS).collect();
        keys.map(Self)
    }

    /// Returns the key of this id, if it is made for the algorithm.
    pub(super) fn find(&self, kid: &str, algorithm: Algorithm) -> Option<&Key> {
        let fits = |key: &&Key| {
            let named = key.algorithm.as_deref();
            key.kid == kid
                && key.decoding.family() == algorithm.family()
                && named.is_none_or(|name| name == format!("{algorithm:?}"))
        };
        self.0.iter().find(fits)
    }

    pub(super) fn contains(&self, digest: &KeyDigest) -> bool {
        self.0.iter().any(|key| key.digest == *digest)
    }
}

impl Key {
    fn shared(secret: &[u8]) -> Self {
        Self {
            kid: secret_id(secret),
            algorithm: Some("HS256".to_owned()),
            decoding: DecodingKey::from_secret(secret),
            digest: Sha256::digest(secret).into(),
        }
    }

    /// Returns a key that can verify signatures and has an id; others are left out. A secret that can be guessed is an error.
    fn new(jwk: &Jwk) -> Result<Option<Self>, String> {
        let for_signatures = match &jwk.common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            Some(_) => false,
        };
        let canonical = serde_json::to_vec(&jwk.algorithm);
        let decoding = DecodingKey::from_jwk(jwk);
        let (Some(kid), Ok(canonical), Ok(decoding), true) = (
            jwk.common.key_id.clone(),
            canonical,
            decoding,
            for_signatures,
        ) else {
            return Ok(None);
        };
        let secret = decoding.try_get_as_bytes();
        if decoding.family() == AlgorithmFamily::Hmac
            && secret.is_ok_and(|secret| secret.len() < MIN_SECRET)
        {
            return Err(format!(
                "the secret of the key {kid:?} needs at least {MIN_SECRET} bytes"
            ));
        }
        Ok(Some(Self {
            kid,
            algorithm: jwk.common.key_algorithm.map(|name| format!("{name:?}")),
            decoding,
            digest: Sha256::digest(canonical).into(),
        }))
    }
}

/// Returns the id of a shared secret, which says nothing about it: a part of its digest.
pub(in crate::auth) fn secret_id(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    let id = digest.iter().take(8);
    id.map(|byte| format!("{byte:02x}")).collect()
}

impl KeySetSource {
    /// Returns the newest keys; `None` when there has never been an answer.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File(mounted) => Some(mounted.value()),
            Self::Url(remote) => {
                let current = remote.current.read();
                current.clone()
            }
        }
    }
}

impl RemoteKeySet {
    pub(in crate::auth) fn new(client: FetchClient) -> Self {
        Self {
            client,
            current: RwLock::default(),
        }
    }

    /// Fetches the keys; the last good ones are kept when that fails.
    pub(in crate::auth) async fn refresh(&self, timeout: Duration) -> Result<(), RefreshError> {
        let response = self.client.get(timeout).await?;
        if !response.is_success() {
            return Err(RefreshError::Status(response.status));
        }
        let keys = KeySet::parse(&response.body).map_err(RefreshError::Invalid)?;
        let mut current = self.current.write();
        *current = Some(Arc::new(keys));
        Ok(())
    }

    /// Returns the host for logs: the rest of an address may be secret.
    pub(in crate::auth) fn host(&self) -> &str {
        self.client.host()
    }
}

/// Why the keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("{0}")]
    Invalid(String),
}
