//! Tokens of media nodes and of the operator, and one of every forged kind.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::auth::jwt::tests::Issuer;

const NODE: &str = "system:serviceaccount:media:demo-media-node";
const OPERATOR: &str = "system:serviceaccount:livecluster-system:livecluster";
const AUDIENCE: &str = "livecluster.dev/media/demo";

/// Writes files and opens the identity that is made of them.
struct Fixture {
    folder: TempDir,
    issuer: Issuer,
    identity: NodeIdentity,
}

impl Fixture {
    fn new() -> Self {
        let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new());
        let path = |name: &str| folder.path().join(name);
        fs::write(path("token"), "own.token.1\n").unwrap();
        fs::write(path("jwks.json"), issuer.jwks()).unwrap();
        let identity = NodeIdentity::open(&IdentitySettings {
            service_account: Some(ServiceAccountSettings {
                token_file: path("token"),
                jwks_file: path("jwks.json"),
                audience: AUDIENCE.to_owned(),
                nodes: vec![NODE.to_owned()],
                operators: vec![OPERATOR.to_owned()],
            }),
            ..IdentitySettings::default()
        });
        Self {
            identity: identity.unwrap(),
            folder,
            issuer,
        }
    }

    fn judge(&self, claims: &Value) -> Result<Caller, Denial> {
        judge(
            &self.identity,
            &self.issuer.sign("RS256", Some("rsa"), claims),
        )
    }
}

fn judge(identity: &NodeIdentity, token: &str) -> Result<Caller, Denial> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    identity.judge(Some(&header))
}

fn claims(audience: &str, subject: &str) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({"aud": [audience], "sub": subject, "exp": now + 3600, "nbf": now})
}

#[test]
fn media_nodes_and_the_operator_are_told_apart() {
    let fixture = Fixture::new();
    let judge = |audience, subject| fixture.judge(&claims(audience, subject));
    assert_eq!(judge(AUDIENCE, NODE), Ok(Caller::Node));
    assert_eq!(judge(AUDIENCE, OPERATOR), Ok(Caller::Operator));
}

#[test]
fn token_for_every_cluster_counts_until_the_operator_has_one_for_each() {
    let fixture = Fixture::new();
    let judge = |audience| fixture.judge(&claims(audience, OPERATOR));
    assert_eq!(judge(OPERATOR_AUDIENCE), Ok(Caller::Operator));
    let mut set: Value = serde_json::from_str(&fixture.issuer.jwks()).unwrap();
    let write = |set: &Value| {
        fs::write(fixture.folder.path().join("jwks.json"), set.to_string()).unwrap();
        fixture.identity.reload();
    };
    set[TOKEN_PER_CLUSTER] = true.into();
    write(&set);
    assert_eq!(judge(OPERATOR_AUDIENCE), Err(Denial::Token));
    assert_eq!(judge(AUDIENCE), Ok(Caller::Operator));
    // The operator of the release before is back.
    set[TOKEN_PER_CLUSTER] = Value::Null;
    write(&set);
    assert_eq!(judge(OPERATOR_AUDIENCE), Ok(Caller::Operator));
}

#[test]
fn token_of_anybody_else_is_refused() {
    let fixture = Fixture::new();
    let judge = |audience, subject| fixture.judge(&claims(audience, subject));
    let other = "system:serviceaccount:media:default";
    assert_eq!(judge(AUDIENCE, other), Err(Denial::Claim));
    assert_eq!(judge(OPERATOR_AUDIENCE, NODE), Err(Denial::Claim));
    assert_eq!(
        judge("livecluster.dev/media/other", OPERATOR),
        Err(Denial::Token)
    );
    for audience in [
        "livecluster.dev/media/other",
        "https://kubernetes.default.svc",
    ] {
        assert_eq!(judge(audience, NODE), Err(Denial::Token), "{audience}");
    }
    let without = fixture.identity.judge(None);
    assert_eq!(without, Err(Denial::NoCredential));
    let basic = HeaderValue::from_static("Basic YTpi");
    assert_eq!(fixture.identity.judge(Some(&basic)), Err(Denial::Token));
}

#[test]
fn forged_token_is_refused() {
    let fixture = Fixture::new();
    let good = claims(AUDIENCE, NODE);
    let sign = |algorithm, kid| fixture.issuer.sign(algorithm, kid, &good);
    // No signature, the public key as a secret, no or another key, another issuer with a key of the same name.
    for token in [
        sign("none", Some("rsa")),
        sign("HS256", Some("rsa")),
        sign("RS256", None),
        sign("RS256", Some("future")),
        Issuer::new().sign("ES256", Some("ec"), &good),
        sign("RS256", Some("rsa")) + "x",
        "a.b.c".to_owned(),
        String::new(),
    ] {
        let judged = judge(&fixture.identity, &token);
        assert_eq!(judged, Err(Denial::Token), "{token}");
    }
    let mut expired = good.clone();
    expired["exp"] = 1.into();
    assert_eq!(fixture.judge(&expired), Err(Denial::Expired));
    let mut early = good;
    early["nbf"] = (jsonwebtoken::get_current_timestamp() + 600).into();
    assert_eq!(fixture.judge(&early), Err(Denial::Token));
}

#[test]
fn renewed_token_and_keys_are_read_again() {
    let fixture = Fixture::new();
    let header = || fixture.identity.authorization().unwrap();
    assert_eq!(header(), "Bearer own.token.1");
    assert!(header().is_sensitive());
    fs::write(fixture.folder.path().join("token"), "own.token.2").unwrap();
    let next = Issuer::new();
    let token = next.sign("ES256", Some("ec"), &claims(AUDIENCE, NODE));
    assert_eq!(judge(&fixture.identity, &token), Err(Denial::Token));
    fs::write(fixture.folder.path().join("jwks.json"), next.jwks()).unwrap();
    fixture.identity.reload();
    assert_eq!(header(), "Bearer own.token.2");
    assert_eq!(judge(&fixture.identity, &token), Ok(Caller::Node));
}

/// Opens the identity of a shared secret.
fn shared(path: &std::path::Path) -> Result<NodeIdentity, IdentityError> {
    NodeIdentity::open(&IdentitySettings {
        secret_file: Some(path.to_owned()),
        ..IdentitySettings::default()
    })
}

#[test]
fn media_nodes_with_one_secret_accept_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{name} secret of at least 32 bytes\n")).unwrap();
        path
    });
    let (node, stranger) = (shared(&first).unwrap(), shared(&second).unwrap());
    let token = |node: &NodeIdentity| node.authorization().unwrap();
    assert_eq!(node.judge(Some(&token(&node))), Ok(Caller::Node));
    assert_eq!(node.judge(Some(&token(&stranger))), Err(Denial::Token));
    let operator = api_token(&first).unwrap();
    assert_eq!(judge(&node, &operator), Ok(Caller::Operator));
    // Rotation: the new secret signs, both are accepted.
    let old = token(&node);
    let both = [fs::read(&second).unwrap(), fs::read(&first).unwrap()].concat();
    fs::write(&first, both).unwrap();
    node.reload();
    assert_eq!(node.judge(Some(&old)), Ok(Caller::Node));
    assert_eq!(stranger.judge(Some(&token(&node))), Ok(Caller::Node));
}

#[test]
fn short_secret_and_missing_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let error = |path| shared(path).err().unwrap().to_string();
    assert!(error(&path).starts_with("identity.secretFile: "));
    fs::write(&path, "short").unwrap();
    assert_eq!(
        error(&path),
        "identity.secretFile: each line needs at least 32 bytes"
    );
}

#[test]
fn node_without_identity_asks_for_nothing() {
    let identity = NodeIdentity::none();
    assert_eq!(identity.judge(None), Ok(Caller::Local));
    assert_eq!(identity.authorization(), None);
}
