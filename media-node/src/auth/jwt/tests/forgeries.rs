//! Tokens that are signed with care or not at all: signatures of zeros, members that occur twice, headers that name a key or an
//! extension, and key sets that are not what they should be.

use super::*;

/// The order of the curve P-256: a number that counts as zero.
const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
    0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];

fn refused(tokens: &Tokens, token: &str) -> bool {
    tokens.judge(token).err() == Some(Denial::Token)
}

#[test]
fn ecdsa_signature_of_zeros_is_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let good = issuer.sign("ES256", Some("ec"), &claims());
    assert!(tokens.judge(&good).is_ok());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    for forged in [
        [&zero[..], &zero].concat(),
        [&zero[..], s].concat(),
        [r, &zero[..]].concat(),
        [&ORDER[..], &ORDER].concat(),
        [r, &ORDER[..]].concat(),
        [s, r].concat(),
        vec![0; 72],
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        // The same numbers in DER.
        [&[0x30, 68, 2, 32][..], r, &[2, 32], s].concat(),
    ] {
        let token = format!("{message}.{}", encoded(&forged));
        assert!(refused(&tokens, &token), "{forged:?}");
    }
}

/// What a proxy in front reads first, or last, must not be another subject than the one that is read here.
#[test]
fn members_that_occur_twice_are_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    let (header, claims) = (r#"{"alg":"RS256","kid":"rsa"}"#, claims().to_string());
    assert!(
        tokens
            .judge(&issuer.sign_text("RS256", header, &claims))
            .is_ok()
    );
    for again in [
        r#""sub":"mallory""#,
        r#""aud":"livecluster""#,
        r#""exp":9999999999"#,
        r#""nbf":1"#,
        r#""iss":"https://issuer.example""#,
        r#""livecluster":{"publish":["*"]}"#,
    ] {
        for claims in [
            claims.replacen('{', &format!("{{{again},"), 1),
            format!("{},{again}}}", &claims[..claims.len() - 1]),
        ] {
            let token = issuer.sign_text("RS256", header, &claims);
            assert!(refused(&tokens, &token), "{claims}");
        }
    }
    for header in [
        r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#,
        r#"{"alg":"RS256","alg":"RS256","kid":"rsa"}"#,
        r#"{"alg":"RS256","kid":"ec","kid":"rsa"}"#,
    ] {
        let token = issuer.sign_text("RS256", header, &claims);
        assert!(refused(&tokens, &token), "{header}");
    }
}

#[test]
fn header_names_one_key_of_the_set_and_nothing_else() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let (_folder, tokens) = tokens(&issuer, rules());
    let claims = claims().to_string();
    let sign = |issuer: &Issuer, kid: Value, more: Value| {
        let mut header = json!({"alg": "ES256", "kid": kid});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        issuer.sign_text("ES256", &header.to_string(), &claims)
    };
    for kid in [
        json!("../ec"),
        json!("/proc/self/environ"),
        json!("ec\0"),
        json!("EC"),
        json!(" ec"),
        json!("*"),
        json!("' OR 1=1 --"),
        json!(["ec"]),
        json!({"eq": "ec"}),
        json!(0),
        json!(""),
    ] {
        let token = sign(&issuer, kid.clone(), json!({}));
        assert!(refused(&tokens, &token), "{kid}");
    }
    // Extensions that a reader must understand.
    for crit in [json!(["b64"]), json!([]), json!(["exp"]), json!("b64")] {
        let token = sign(&issuer, json!("ec"), json!({"crit": crit, "b64": false}));
        assert!(refused(&tokens, &token), "{crit}");
    }
    // The key that signed it comes with the token.
    let set: Value = serde_json::from_str(&stranger.jwks()).unwrap();
    let own_key = json!({
        "jwk": set["keys"][1], "jku": "http://127.0.0.1:1/jwks.json", "x5u": "http://127.0.0.1:1/",
    });
    assert!(refused(&tokens, &sign(&stranger, json!("ec"), own_key)));
}

#[test]
fn wrong_types_of_times_and_audiences_are_refused() {
    let issuer = Issuer::new();
    let (_folder, tokens) = tokens(&issuer, rules());
    for (field, value) in [
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(null)),
        ("exp", json!([9_999_999_999_u64])),
        ("nbf", json!("0")),
        ("nbf", json!({})),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!({"livecluster": true})),
        ("aud", json!([["livecluster"]])),
        ("aud", json!("livecluster,other")),
        ("iss", json!(["https://evil.example"])),
        ("iss", json!(null)),
        ("livecluster", json!({"publish": "*"})),
    ] {
        let token = issuer.sign("RS256", Some("rsa"), &with(field, value.clone()));
        assert!(refused(&tokens, &token), "{field}: {value}");
    }
}

/// Returns the judge of a set with these keys, and the folder with its file.
fn judge_of(keys: &[Value]) -> (TempDir, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let tokens = tokens_of(&file, rules());
    (folder, tokens)
}

#[test]
fn of_thousands_of_keys_the_first_ones_count() {
    let issuer = Issuer::new();
    let set: Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let named = |kid: String| {
        let mut key = set["keys"][1].clone();
        key["kid"] = kid.into();
        key
    };
    let keys: Vec<_> = (0..10_000)
        .map(|number| named(number.to_string()))
        .collect();
    let (folder, _) = judge_of(&keys[..1]);
    let file = folder.path().join("jwks.json");
    fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let opened = Mounted::open(&file, KeySet::of_file);
    assert!(opened.is_err(), "the file has more than 1 MiB");
    let keys = &keys[..5_000];
    let (_folder, tokens) = judge_of(keys);
    let sign = |kid: &str| issuer.sign("ES256", Some(kid), &claims());
    assert!(tokens.judge(&sign("0")).is_ok() && tokens.judge(&sign("255")).is_ok());
    assert!(refused(&tokens, &sign("256")) && refused(&tokens, &sign("4999")));
}

const SECRET: [u8; 32] = [7; 32];

fn secret_key(secret: &[u8]) -> Value {
    json!({"kty": "oct", "kid": "secret", "k": encoded(secret)})
}

#[test]
fn secret_of_a_key_set_verifies_listed_algorithms_with_secrets_only() {
    let issuer = Issuer::new();
    let (_folder, mut tokens) = judge_of(&[secret_key(&SECRET)]);
    let header = json!({"alg": "HS256", "kid": "secret"}).to_string();
    let message = format!("{}.{}", encoded(header), encoded(claims().to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = hmac::sign(&key, message.as_bytes());
    let good = format!("{message}.{}", encoded(signature));
    assert!(tokens.judge(&good).is_ok());
    for algorithm in ["RS256", "ES256", "none"] {
        let token = issuer.sign(algorithm, Some("secret"), &claims());
        assert!(refused(&tokens, &token), "{algorithm}");
    }
    let algorithms = &mut tokens.rules.algorithms;
    algorithms.retain(|algorithm| *algorithm != JwtAlgorithm::HS256);
    assert!(refused(&tokens, &good));
}

#[test]
fn key_set_with_a_secret_that_can_be_guessed_is_refused() {
    for secret in [&SECRET[..31], &[]] {
        let set = json!({"keys": [secret_key(secret)]}).to_string();
        let files = [("jwks.json".to_owned(), set.into_bytes())].into();
        let error = KeySet::of_file(&files).err();
        let expected = "the secret of the key \"secret\" needs at least 32 bytes";
        assert_eq!(error.as_deref(), Some(expected));
    }
}
