//! The signatures of JSON Web Tokens, by `ring`: the library for tokens leaves them to its user.
//!
//! `ring` is in the tree for TLS already. The two backends of `jsonwebtoken` would compile a second one: `aws-lc-rs`, or the
//! pure Rust crates for RSA and elliptic curves.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Makes `ring` the library's provider for this process.
pub(super) fn install() {
    // A second media node of the same process finds it installed.
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            key: key.clone(),
        }) as Box<dyn JwtVerifier>)
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.check(message, signature)
            .map_err(|_| signature::Error::new())
    }
}

impl RingVerifier {
    fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let invalid = |_| Error::from(ErrorKind::InvalidSignature);
        if self.algorithm.family() == AlgorithmFamily::Rsa {
            let DecodingKeyKind::RsaModulusExponent { n, e } = self.key.kind() else {
                return Err(ErrorKind::InvalidKeyFormat.into());
            };
            let parameters = rsa(self.algorithm)?;
            return RsaPublicKeyComponents { n, e }
                .verify(parameters, message, signature)
                .map_err(invalid);
        }
        let key = self.key.try_get_as_bytes()?;
        if let Some(algorithm) = secret(self.algorithm) {
            let key = hmac::Key::new(algorithm, key);
            return hmac::verify(&key, message, signature).map_err(invalid);
        }
        UnparsedPublicKey::new(curve(self.algorithm)?, key)
            .verify(message, signature)
            .map_err(invalid)
    }
}

fn rsa(algorithm: Algorithm) -> Result<&'static RsaParameters, Error> {
    Ok(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    })
}

fn secret(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn curve(algorithm: Algorithm) -> Result<&'static dyn VerificationAlgorithm, Error> {
    Ok(match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &ED25519,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    })
}
