//! Tokens that are valid, and one of every forged kind.

mod forgeries;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use media_wire::StreamKey;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::auth::mounted::{KeySource as _, Mounted};

/// A key that nothing but these tests uses.
const RSA_KEY: &[u8] = include_bytes!("test_rsa.pk8");

/// Signs tokens as an identity provider does.
pub(in crate::auth) struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub(in crate::auth) fn new() -> Self {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA_KEY).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .unwrap(),
            random,
        }
    }

    /// The public keys: `rsa`, `ec` and one that is not understood.
    pub(in crate::auth) fn jwks(&self) -> String {
        let rsa: rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": encoded(&rsa.n), "e": encoded(&rsa.e)},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "new", "kid": "future"},
        ]})
        .to_string()
    }

    pub(in crate::auth) fn sign(
        &self,
        algorithm: &str,
        kid: Option<&str>,
        claims: &Value,
    ) -> String {
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.sign_text(algorithm, &header.to_string(), &claims.to_string())
    }

    /// Signs a header and claims as they are.
    fn sign_text(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let bytes = message.as_bytes();
        let signature = match algorithm {
            "RS256" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &self.random, bytes, &mut signature)
                    .unwrap();
                signature
            }
            "ES256" => self.ec.sign(&self.random, bytes).unwrap().as_ref().to_vec(),
            // What a forger does who has the public key only.
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.rsa.public().as_ref());
                hmac::sign(&key, bytes).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", encoded(signature))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Claims of a token for `live/*` that is valid for an hour.
pub(in crate::auth) fn claims() -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({
        "iss": "https://issuer.example", "sub": "alice", "aud": ["other", "livecluster"],
        "exp": now + 3600, "nbf": now - 10, "livecluster": {"publish": ["live/*"], "play": ["live/cam"]},
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn rules() -> JwtRules {
    JwtRules {
        audiences: vec!["livecluster".to_owned()],
        issuer: Some("https://issuer.example".to_owned()),
        algorithms: vec![
            JwtAlgorithm::RS256,
            JwtAlgorithm::ES256,
            JwtAlgorithm::HS256,
        ],
        subjects: Vec::new(),
    }
}

fn tokens_of(file: &Path, rules: JwtRules) -> Tokens {
    let keys = KeySetSource::File(Arc::new(Mounted::open(file, KeySet::of_file).unwrap()));
    let settings = JwtSettings {
        jwks_file: None,
        jwks_url: None,
        ca_file: None,
        rules,
    };
    Tokens::new(keys, &settings)
}

fn tokens(issuer: &Issuer, rules: JwtRules) -> (TempDir, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, issuer.jwks()).unwrap();
    let tokens = tokens_of(&file, rules);
    (folder, tokens)
}

#[test]
fn signed_token_allows_the_streams_of_its_claim() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let stream = |name| StreamKey::new(None, "live", name).unwrap();
    for (algorithm, kid) in [("RS256", "rsa"), ("ES256", "ec")] {
        let token = issuer.sign(algorithm, Some(kid), &claims());
        let token = tokens.judge(&token).unwrap();
        assert!(token.streams(Action::Publish).contains(&stream("any")));
        assert!(token.streams(Action::Play).contains(&stream("cam")));
        assert!(!token.streams(Action::Play).contains(&stream("any")));
    }
}

#[test]
fn token_limits_the_bitrate_of_its_publisher() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let limit = |claim: Value| {
        let token = issuer.sign("RS256", Some("rsa"), &with("livecluster", claim));
        tokens
            .judge(&token)
            .map(|token| token.proof.max_publish_kbps)
    };
    let streams = json!({"publish": ["live/*"]});
    assert_eq!(limit(streams).unwrap(), None);
    let limited = json!({"publish": ["live/*"], "maxPublishKbps": 6000});
    assert_eq!(limit(limited).unwrap(), Some(6000));
    let wrong = json!({"publish": ["live/*"], "maxPublishKbps": "much"});
    assert_eq!(limit(wrong).err(), Some(Denial::Token));
}

#[test]
fn token_without_a_signature_of_the_issuer_is_refused() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let (_folder, tokens) = tokens(&issuer, rules());
    let signed = |algorithm: &str, kid: &str| issuer.sign(algorithm, Some(kid), &claims());
    let good = signed("RS256", "rsa");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let changed = encoded(with("sub", json!("mallory")).to_string());
    let forged = [
        ("none", signed("none", "rsa")),
        ("public key as secret", signed("HS256", "rsa")),
        ("algorithm of another key", signed("ES256", "rsa")),
        ("algorithm not listed", signed("RS512", "rsa")),
        (
            "key of a stranger",
            stranger.sign("ES256", Some("ec"), &claims()),
        ),
        ("changed claims", format!("{header}.{changed}.{signature}")),
        ("no signature", format!("{message}.")),
        ("no kid", issuer.sign("RS256", None, &claims())),
        ("unknown kid", signed("RS256", "other")),
        ("key that is not understood", signed("RS256", "future")),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("long", "a".repeat(MAX_TOKEN + 1)),
    ];
    for (kind, token) in forged {
        assert_eq!(tokens.judge(&token).err(), Some(Denial::Token), "{kind}");
    }
}

#[test]
fn token_with_other_claims_than_the_rules_expect_is_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let now = jsonwebtoken::get_current_timestamp();
    let mut no_expiry = claims();
    no_expiry.as_object_mut().unwrap().remove("exp");
    let evil = json!("https://evil.example");
    let refused = [
        ("audience", with("aud", json!("elsewhere")), Denial::Token),
        ("no audience", with("aud", Value::Null), Denial::Token),
        ("issuer", with("iss", evil), Denial::Token),
        ("expired", with("exp", json!(now - 70)), Denial::Expired),
        ("no expiry", no_expiry, Denial::Token),
        (
            "expiry as text",
            with("exp", json!("9999999999")),
            Denial::Token,
        ),
        ("not yet valid", with("nbf", json!(now + 70)), Denial::Token),
    ];
    for (kind, claims, expected) in refused {
        let token = issuer.sign("RS256", Some("rsa"), &claims);
        assert_eq!(tokens.judge(&token).err(), Some(expected), "{kind}");
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let now = jsonwebtoken::get_current_timestamp();
    for claims in [with("exp", json!(now - 50)), with("nbf", json!(now + 50))] {
        assert!(
            tokens
                .judge(&issuer.sign("RS256", Some("rsa"), &claims))
                .is_ok()
        );
    }
}

#[test]
fn listed_service_account_needs_no_claim_and_others_are_refused() {
    let issuer = Issuer::new();
    let mut rules = rules();
    rules.subjects = vec![media_config::JwtSubject {
        subject: "system:serviceaccount:media:encoder".to_owned(),
        streams: vec!["live/cam".to_owned()],
    }];
    let (_folder, tokens) = tokens(&issuer, rules);
    let sign = |subject: &str| {
        let mut claims = with("sub", json!(subject));
        claims.as_object_mut().unwrap().remove("livecluster");
        issuer.sign("RS256", Some("rsa"), &claims)
    };
    let token = tokens
        .judge(&sign("system:serviceaccount:media:encoder"))
        .unwrap();
    let stream = StreamKey::new(None, "live", "cam").unwrap();
    assert!(token.streams(Action::Publish).contains(&stream));
    let other = tokens.judge(&sign("system:serviceaccount:other:encoder"));
    assert_eq!(other.err(), Some(Denial::Claim));
    // A claim does not help a subject that is not listed.
    let claims = issuer.sign("RS256", Some("rsa"), &claims());
    assert_eq!(tokens.judge(&claims).err(), Some(Denial::Claim));
}

#[test]
fn rotated_key_set_drops_the_old_key_and_a_broken_one_keeps_the_last() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let (folder, tokens) = tokens(&old, rules());
    let file = folder.path().join("jwks.json");
    let KeySetSource::File(mounted) = &tokens.keys else {
        unreachable!()
    };
    let signed = |issuer: &Issuer| issuer.sign("ES256", Some("ec"), &claims());
    let proof = tokens.judge(&signed(&old)).unwrap().proof;
    fs::write(&file, "{").unwrap();
    mounted.reload();
    assert!(tokens.holds(&proof) && tokens.judge(&signed(&old)).is_ok());
    fs::write(&file, new.jwks()).unwrap();
    mounted.reload();
    assert!(!tokens.holds(&proof));
    assert!(tokens.judge(&signed(&old)).is_err() && tokens.judge(&signed(&new)).is_ok());
}
