//! Who may publish and who may play: the settings of [`AuthSettings`].
//!
//! The types without file paths are also part of the `LiveCluster` resource. Where a media node's configuration names a folder, the
//! resource names the Secret that is mounted there.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may publish and who may play.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AuthSettings {
    /// Who may publish.
    pub publish: AccessSettings,
    /// Who may play.
    pub play: AccessSettings,
}

/// The methods by which clients prove that they may publish, or play. Without any, every client may.
///
/// Address lists are checked first. A credential is then judged by the method that it belongs to. A client without a credential is
/// judged by the hook, and refused if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessSettings {
    /// Addresses that are allowed and denied.
    #[serde(flatten)]
    pub cidrs: CidrLists,
    /// Keys in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeySettings>,
    /// Signed URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_urls: Option<SignedUrlSettings>,
    /// JSON Web Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSettings>,
    /// An HTTP server that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookSettings>,
}

impl AccessSettings {
    /// Returns whether clients need a credential or an allowed address.
    pub fn is_protected(&self) -> bool {
        self.needs_credential() || !self.cidrs.allow_cidrs.is_empty()
    }

    /// Returns whether any method judges credentials.
    pub fn needs_credential(&self) -> bool {
        self.keys.is_some()
            || self.signed_urls.is_some()
            || self.jwt.is_some()
            || self.hook.is_some()
    }
}

/// Addresses that are allowed and denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CidrLists {
    /// Networks whose clients are allowed, such as `10.0.0.0/8`; every network when empty.
    pub allow_cidrs: Vec<String>,
    /// Networks whose clients are refused, also where `allowCidrs` contains them.
    pub deny_cidrs: Vec<String>,
}

/// Keys in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySettings {
    /// The folder of the files `APP.STREAM`, `APP`, and `*` (or `_all`) for every stream, each with one key a line.
    pub directory: PathBuf,
}

/// Signed URLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedUrlSettings {
    /// The folder whose files contain the signing keys, one a line.
    pub directory: PathBuf,
    /// The signature scheme, and how long a URL is valid.
    #[serde(flatten)]
    pub rules: SignedUrlRules,
}

/// What signed URLs look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SignedUrlRules {
    /// How URLs are signed.
    pub scheme: SignedUrlScheme,
    /// Seconds that a URL stays valid after the time that it names: the validity period of the CDN's console.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub validity_seconds: u32,
}

/// How URLs are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SignedUrlScheme {
    /// `expires` and `signature`: HMAC-SHA256 of action, stream, time and optionally the address.
    #[default]
    LiveCluster,
    /// Tencent Cloud: `txSecret` and `txTime`, MD5 or SHA-256.
    Tencent,
    /// Alibaba Cloud: `auth_key`, type A.
    Alibaba,
}

/// JSON Web Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtSettings {
    /// The file with the public keys, a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// The `http` or `https` address of the JSON Web Key Set, instead of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The file with the certificate authorities of `jwksUrl` in PEM; those that browsers trust when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Which tokens are accepted.
    #[serde(flatten)]
    pub rules: JwtRules,
}

/// Which tokens count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtRules {
    /// Audiences, one of which a token must have.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)))]
    pub audiences: Vec<String>,
    /// The issuer that a token must have; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// Algorithms of signatures that are accepted.
    #[serde(default = "default_algorithms")]
    #[schemars(length(min = 1, max = 12))]
    pub algorithms: Vec<JwtAlgorithm>,
    /// Subjects that need no `livecluster` claim, such as Kubernetes ServiceAccounts. When this list is not empty, all other
    /// subjects are refused.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub subjects: Vec<JwtSubject>,
}

/// An algorithm of signatures, by its name in RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are those of the standards")]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

fn default_algorithms() -> Vec<JwtAlgorithm> {
    vec![JwtAlgorithm::RS256, JwtAlgorithm::ES256]
}

/// A subject and its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtSubject {
    /// The claim `sub`, such as `system:serviceaccount:NAMESPACE:NAME`.
    #[schemars(length(min = 1, max = 512))]
    pub subject: String,
    /// The subject's streams: `APP/STREAM`, `APP/PREFIX*`, `APP/*`, `//VHOST/APP/*`, or `*` for all.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 512)))]
    pub streams: Vec<String>,
}

/// An HTTP server that is asked, with the callbacks of SRS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookSettings {
    /// The `http` or `https` address that gets a POST with `on_publish` and `on_unpublish`, or `on_play` and `on_stop`.
    #[schemars(
        length(min = 8, max = 2048),
        regex(pattern = "^https?://[^/?#@]+([/?].*)?$")
    )]
    pub url: String,
    /// Seconds that an answer may take, the time until the hook has room for the question included.
    #[serde(default = "default_hook_timeout")]
    #[schemars(range(min = 1, max = 30))]
    pub timeout_seconds: u32,
    /// What happens to a client when the hook cannot be reached, answers too late or with a status from 500 on.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
}

impl HookSettings {
    /// Returns the time that an answer may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }
}

fn default_hook_timeout() -> u32 {
    3
}

/// What happens to a client when the hook fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// It is refused.
    #[default]
    Deny,
    /// It is allowed.
    Allow,
}
