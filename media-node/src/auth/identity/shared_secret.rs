//! Tokens that media nodes sign themselves, with a secret that they share (HS256).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use parking_lot::Mutex;
use ring::hmac;
use serde_json::json;

use super::super::jwt::secret_id;
use super::super::keys::lines;
use super::super::mounted::Files;
use super::{IdentityError, OPERATOR_AUDIENCE, bearer, mount};

/// Audience of tokens for relays.
pub(super) const NODE_AUDIENCE: &str = "livecluster.dev/media-node";

/// Subject of media nodes.
pub(super) const NODE: &str = "media-node";

/// Subject of people who use the API.
pub(super) const OPERATOR: &str = "operator";

/// Seconds for which a media node's token is valid.
const VALID: u64 = 600;

/// Seconds after which a media node signs another one.
const RENEWED: u64 = 300;

/// Seconds for which a printed token is valid.
const VALID_PRINTED: u64 = 3600;

/// The secret that signs, and the last token.
pub(super) struct SharedSecret {
    secret: Vec<u8>,
    signed: Mutex<Option<(u64, HeaderValue)>>,
}

impl SharedSecret {
    /// Reads the only file of a mount. Its first line signs.
    pub(super) fn parse(files: &Files) -> Result<Self, String> {
        let content = files.values().next().ok_or("the file is missing")?;
        let secret = lines(content).next().ok_or("the file is empty")?;
        Ok(Self {
            secret: secret.to_owned(),
            signed: Mutex::default(),
        })
    }

    /// Returns the header of this media node's requests.
    pub(super) fn authorization(&self, now: u64) -> Option<HeaderValue> {
        let mut signed = self.signed.lock();
        if let Some((at, value)) = &*signed
            && now.abs_diff(*at) < RENEWED
        {
            return Some(value.clone());
        }
        let token = self.sign(NODE_AUDIENCE, NODE, now, VALID);
        let value = bearer(token.as_bytes()).ok()?;
        *signed = Some((now, value.clone()));
        Some(value)
    }

    fn sign(&self, audience: &str, subject: &str, now: u64, seconds: u64) -> String {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": secret_id(&self.secret)});
        let claims = json!({"aud": audience, "sub": subject, "iat": now, "exp": now + seconds});
        let [header, claims] = [header, claims].map(|it| URL_SAFE_NO_PAD.encode(it.to_string()));
        let message = format!("{header}.{claims}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let signature = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Returns a token that opens the API for an hour.
///
/// # Errors
/// See [`IdentityError`].
pub(crate) fn api_token(path: &Path) -> Result<String, IdentityError> {
    let secret = mount("secretFile", path, SharedSecret::parse)?.value();
    let now = super::super::now();
    Ok(secret.sign(OPERATOR_AUDIENCE, OPERATOR, now, VALID_PRINTED))
}
