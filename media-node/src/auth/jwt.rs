//! JSON Web Tokens: `?token=…` or `Authorization: Bearer …`, signed with a key of a JSON Web Key Set.
//!
//! The claim `livecluster: {publish: ["live/*"], play: ["live/*"], maxPublishKbps: 6000}` lists the streams, and can limit the
//! bitrate of a publisher. Tokens of Kubernetes ServiceAccounts have no such claim: the settings list their subjects. A token must
//! name its key by `kid`, and the key decides which algorithm is possible, so that a public key is never taken for a secret.

mod crypto;
mod key_set;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use media_config::{JwtAlgorithm, JwtRules, JwtSettings};
use serde::Deserialize;

use super::Denial;
use super::keys::KeyDigest;
use super::request::Action;
use super::streams::Streams;

pub use key_set::KeySetTimings;
pub(super) use key_set::{KeySet, KeySetSource, RemoteKeySet, secret_id};

/// Seconds by which clocks may differ.
const CLOCK_SKEW: u64 = 60;

/// The maximum bytes of a token. With the names of an organization's groups it has a few KiB.
const MAX_TOKEN: usize = 8 * 1024;

/// The judge of tokens.
pub(super) struct Tokens {
    pub(super) keys: KeySetSource,
    rules: JwtRules,
}

/// A token that is valid: its streams, and the key that it was signed with.
#[derive(Debug)]
pub(super) struct Token {
    publish: Streams,
    play: Streams,
    pub(super) proof: TokenProof,
}

/// The part of a token that is kept while the client that it allowed is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenProof {
    /// The key that it was signed with.
    key: KeyDigest,
    /// Maximum bitrate of a publisher, in kilobits per second.
    pub(super) max_publish_kbps: Option<u32>,
}

/// The claims that are read beside those that the library checks.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    livecluster: StreamClaim,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StreamClaim {
    publish: Vec<String>,
    play: Vec<String>,
    max_publish_kbps: Option<u32>,
}

impl Tokens {
    pub(super) fn new(keys: KeySetSource, settings: &JwtSettings) -> Self {
        Self::with_rules(keys, settings.rules.clone())
    }

    pub(super) fn with_rules(keys: KeySetSource, rules: JwtRules) -> Self {
        crypto::install();
        Self { keys, rules }
    }

    /// Returns the streams of a token that is valid now.
    pub(super) fn judge(&self, token: &str) -> Result<Token, Denial> {
        if token.len() > MAX_TOKEN {
            return Err(Denial::Token);
        }
        let keys = self.keys.current().ok_or(Denial::KeysUnavailable)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| Denial::Token)?;
        if !self
            .rules
            .algorithms
            .iter()
            .any(|a| named(*a) == header.alg)
            || header.crit.is_some()
        {
            return Err(Denial::Token);
        }
        let kid = header.kid.as_deref().ok_or(Denial::Token)?;
        let key = keys.find(kid, header.alg).ok_or(Denial::Token)?;
        let validation = self.validation(header.alg);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Denial::Expired,
                _ => Denial::Token,
            })?
            .claims;
        let (publish, play) = self.streams(&claims)?;
        Ok(Token {
            publish,
            play,
            proof: TokenProof {
                key: key.digest,
                max_publish_kbps: claims.livecluster.max_publish_kbps.filter(|kbps| *kbps > 0),
            },
        })
    }

    /// Returns whether the key that a token was signed with is still there.
    pub(super) fn holds(&self, proof: &TokenProof) -> bool {
        let keys = self.keys.current();
        keys.is_none_or(|keys| keys.contains(&proof.key))
    }

    fn streams(&self, claims: &Claims) -> Result<(Streams, Streams), Denial> {
        if self.rules.subjects.is_empty() {
            let claim = &claims.livecluster;
            return Ok((Streams::parse(&claim.publish), Streams::parse(&claim.play)));
        }
        let mut subjects = self.rules.subjects.iter();
        let subject = subjects.find(|subject| subject.subject == claims.sub);
        let streams = Streams::parse(&subject.ok_or(Denial::Claim)?.streams);
        Ok((streams.clone(), streams))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = CLOCK_SKEW;
        validation.validate_nbf = true;
        validation.set_audience(&self.rules.audiences);
        validation.set_required_spec_claims(&["exp", "aud"]);
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        }
        validation
    }
}

impl Token {
    /// Returns the streams that the token allows for an action.
    pub(super) fn streams(&self, action: Action) -> &Streams {
        match action {
            Action::Publish => &self.publish,
            Action::Play => &self.play,
        }
    }
}

fn named(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
    }
}

#[cfg(test)]
pub(super) mod tests;
