//! Signed URLs: a server that knows a signing key gives out URLs that are valid for one stream and for some time.
//!
//! | scheme | parameters | signature |
//! |---|---|---|
//! | `liveCluster` | `expires`, `signature` | base64url(HMAC-SHA256(key, `ACTION\nVHOST/APP/STREAM\nEXPIRES[\npriority=N][\nIP]`)) |
//! | `tencent` | `txSecret`, `txTime` | MD5 or SHA-256 of key, stream and `txTime`, in hexadecimal digits |
//! | `alibaba` | `auth_key=TIME-RAND-UID-MD5` | MD5 of `/APP/STREAM-TIME-RAND-UID-KEY`, with `.flv` behind the stream by HTTP |
//!
//! The default virtual host is written `__defaultVhost__`. The URL of an encoder that names its `priority` signs it as well. The
//! schemes of the CDNs sign neither action nor virtual host: publishing and playing need different keys, and an encoder's priority
//! cannot be signed.

use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use media_config::{SignedUrlRules, SignedUrlScheme};
use media_wire::StreamKey;
use media_wire::stream_key::DEFAULT_VHOST;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::keys::{KeyDigest, digest, lines};
use super::mounted::{Files, KeySource, MountError, Mounted};
use super::request::Action;
use super::{Credential, Denial};

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Hexadecimal digits of every time between 1978 and 2106.
const TENCENT_TIME_DIGITS: usize = 8;

/// The signing keys of one action, and the scheme of its URLs.
pub(super) struct SignedUrls {
    keys: Mounted<Vec<Vec<u8>>>,
    rules: SignedUrlRules,
}

/// The signing key that a URL was signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SigningKeyProof(KeyDigest);

/// The content that a signature covers.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) action: Action,
    pub(super) stream: &'a StreamKey,
    pub(super) peer: IpAddr,
    /// The priority of an encoder, as the URL names it.
    pub(super) priority: Option<&'a str>,
}

/// The parameters of a signed URL.
enum Signature<'a> {
    LiveCluster {
        expires: &'a str,
        signature: &'a str,
    },
    Tencent {
        secret: &'a str,
        time: &'a str,
    },
    Alibaba {
        auth_key: &'a str,
    },
}

impl KeySource for SignedUrls {
    fn reload(&self) {
        self.keys.reload();
    }
}

impl SignedUrls {
    pub(super) fn open(directory: &Path, rules: SignedUrlRules) -> Result<Self, MountError> {
        let keys = Mounted::open(directory, |files| Ok(signing_keys(files)))?;
        Ok(Self { keys, rules })
    }

    /// Returns whether the credential is made for this method.
    pub(super) fn recognizes(&self, credential: &Credential) -> bool {
        self.signature(credential).is_some()
    }

    /// Returns the proof that the URL is signed for a stream and has not expired.
    pub(super) fn judge(
        &self,
        credential: &Credential,
        signed: Signed<'_>,
        now: u64,
    ) -> Result<SigningKeyProof, Denial> {
        let signature = self.signature(credential).ok_or(Denial::NoCredential)?;
        let keys = self.keys.value();
        let mut matching = keys
            .iter()
            .filter(|key| signature.is_made_with(key, signed));
        let key = matching.next().ok_or(Denial::Signature)?;
        let time = signature.time().ok_or(Denial::Signature)?;
        // Checked after the signature, so that a client without a valid one does not find out whether a URL has expired.
        if time.saturating_add(self.rules.validity_seconds.into()) < now {
            return Err(Denial::Expired);
        }
        if signed.priority.is_some() && self.rules.scheme != SignedUrlScheme::LiveCluster {
            return Err(Denial::Priority);
        }
        Ok(SigningKeyProof(digest(key)))
    }

    /// Returns whether the key that signed a URL is still there.
    pub(super) fn holds(&self, proof: &SigningKeyProof) -> bool {
        self.keys.value().iter().any(|key| digest(key) == proof.0)
    }

    fn signature<'a>(&self, credential: &'a Credential) -> Option<Signature<'a>> {
        let parameter = |name| credential.parameter(name);
        Some(match self.rules.scheme {
            SignedUrlScheme::LiveCluster => Signature::LiveCluster {
                expires: parameter("expires")?,
                signature: parameter("signature")?,
            },
            SignedUrlScheme::Tencent => Signature::Tencent {
                secret: parameter("txSecret")?,
                time: parameter("txTime")?,
            },
            SignedUrlScheme::Alibaba => Signature::Alibaba {
                auth_key: parameter("auth_key")?,
            },
        })
    }
}

impl Signature<'_> {
    fn is_made_with(&self, key: &[u8], signed: Signed<'_>) -> bool {
        match *self {
            Self::LiveCluster { expires, signature } => is_hmac_of(key, signed, expires, signature),
            Self::Tencent { secret, time } => is_tencent_secret(key, signed.stream, time, secret),
            Self::Alibaba { auth_key } => {
                let path = format!("/{}/{}", signed.stream.app(), signed.stream.name());
                // The path of `cam.flv` by RTMP would be that of `cam` by HTTP.
                let is_plain = !path.ends_with(".flv") && is_alibaba_key(key, &path, auth_key);
                is_plain || is_alibaba_key(key, &format!("{path}.flv"), auth_key)
            }
        }
    }

    /// The time that the URL names, in seconds since 1970.
    fn time(&self) -> Option<u64> {
        match self {
            Self::LiveCluster { expires, .. } => expires.parse().ok(),
            Self::Tencent { time, .. } => u64::from_str_radix(time, 16).ok(),
            Self::Alibaba { auth_key } => auth_key.split('-').next()?.parse().ok(),
        }
    }
}

fn is_hmac_of(key: &[u8], signed: Signed<'_>, expires: &str, signature: &str) -> bool {
    let Ok(signature) = BASE64URL.decode(signature) else {
        return false;
    };
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return false;
    };
    let stream = signed.stream;
    let vhost = stream.vhost().unwrap_or(DEFAULT_VHOST);
    let mac = mac.chain_update(format!(
        "{}\n{vhost}/{}/{}\n{expires}",
        signed.action,
        stream.app(),
        stream.name()
    ));
    let mac = match signed.priority {
        // Other text could contain a line that counts as the address.
        Some(priority) if !is_number(priority) => return false,
        Some(priority) => mac.chain_update(format!("\npriority={priority}")),
        None => mac,
    };
    let bound = mac
        .clone()
        .chain_update(format!("\n{}", signed.peer.to_canonical()));
    mac.verify_slice(&signature).is_ok() || bound.verify_slice(&signature).is_ok()
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_tencent_secret(key: &[u8], stream: &StreamKey, time: &str, secret: &str) -> bool {
    // Name and time are not separated. With more digits, the end of a name could be read as the beginning of a later time.
    if time.len() != TENCENT_TIME_DIGITS {
        return false;
    }
    let parts = [key, stream.name().as_bytes(), time.as_bytes()];
    match secret.len() {
        32 => hex_equals(&hash::<Md5>(&parts), secret),
        64 => hex_equals(&hash::<Sha256>(&parts), secret),
        _ => false,
    }
}

fn is_alibaba_key(key: &[u8], path: &str, auth_key: &str) -> bool {
    let Some((signed, md5)) = auth_key.rsplit_once('-') else {
        return false;
    };
    // TIME-RAND-UID: another number of parts could shift what is path and what is time.
    if signed.split('-').count() != 3 {
        return false;
    }
    let text = format!("{path}-{signed}-");
    hex_equals(&hash::<Md5>(&[text.as_bytes(), key]), md5)
}

fn hash<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let hash = parts
        .iter()
        .fold(D::new(), |hash, part| hash.chain_update(part));
    hash.finalize().to_vec()
}

/// Compares in constant time; the digits' case does not matter.
fn hex_equals(hash: &[u8], digits: &str) -> bool {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.as_bytes()
        .ct_eq(digits.to_ascii_lowercase().as_bytes())
        .into()
}

fn signing_keys(files: &Files) -> Vec<Vec<u8>> {
    let keys = files.values().flat_map(|content| lines(content));
    keys.map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
