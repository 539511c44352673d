//! Who may publish and who may play: `spec.auth`, and what follows from it for a media node.
//!
//! The resource names Secrets and ConfigMaps. They are mounted into the Pods and read by the media nodes: a change takes effect
//! without a rollout, and the operator reads no Secret.

use std::path::Path;

use media_config::{
    AccessSettings, AuthSettings, CidrLists, HookSettings, JwtRules, JwtSettings, KeySettings,
    SignedUrlRules, SignedUrlSettings, cidrs_schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountSource};
use crate::rule::Rule;

/// Key of a certificate authority in a ConfigMap, as in `kube-root-ca.crt`.
const CA_KEY: &str = "ca.crt";

/// Who may publish and who may play. Without any method, every client may.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AuthSpec {
    /// Who may publish.
    pub publish: AccessSpec,
    /// Who may play. Where playing is protected, the list of streams and the player page need a credential, too.
    pub play: AccessSpec,
}

/// Methods by which clients prove that they may publish, or play. Address lists refuse first. The credential that a client
/// presents is judged by the method that it is made for. A client without one is judged by the hook, and refused where
/// there is none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessSpec {
    /// Networks whose clients are allowed, such as `10.0.0.0/8`. Every network when empty.
    #[schemars(schema_with = "cidrs_schema")]
    pub allow_cidrs: Vec<String>,
    /// Networks whose clients are refused, also where `allowCidrs` contains them.
    #[schemars(schema_with = "cidrs_schema")]
    pub deny_cidrs: Vec<String>,
    /// Keys behind the stream's name: `livestream?key=KEY` as stream key of an encoder, `?key=KEY` or the header
    /// `Authorization: Bearer KEY` of a player.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysSpec>,
    /// URLs that are signed for one stream and for some time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_urls: Option<SignedUrlsSpec>,
    /// JSON Web Tokens, as `?token=TOKEN` or in the header `Authorization: Bearer TOKEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSpec>,
    /// HTTP server that is asked with the callbacks of SRS. It also judges clients without a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookSettings>,
}

/// Keys behind the stream's name.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysSpec {
    /// Secret with an entry `APP.STREAM`, `APP` or `_all` (every stream) for what its keys open, each with one key a line.
    /// A client whose key is removed is disconnected.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// URLs that are signed for one stream and for some time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedUrlsSpec {
    /// Secret whose entries contain the signing keys, one a line. Every key is valid, so that a new one can be added before the
    /// old one is removed.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Form of the URLs.
    #[serde(flatten)]
    pub rules: SignedUrlRules,
}

/// JSON Web Tokens. The claim `livecluster: {publish: ["live/*"], play: ["live/*"], maxPublishKbps: 6000}` lists the streams of a
/// token, and can limit the bitrate of its publisher.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtSpec {
    /// Public keys of the tokens' issuer.
    pub jwks: JwksSpec,
    /// Tokens that are accepted.
    #[serde(flatten)]
    pub rules: JwtRules,
}

/// JSON Web Key Set: exactly one of `secretName`, `configMapName` and `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = JWKS_RULES))]
pub struct JwksSpec {
    /// Secret that contains the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// ConfigMap that contains the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: Option<String>,
    /// Entry of the Secret or ConfigMap; `jwks.json` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
    /// `http` or `https` address of the key set. The media nodes fetch it twice a minute and keep the last good one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 2048),
        regex(pattern = r"^https?://[^/?#@]+([/?].*)?$")
    )]
    pub url: Option<String>,
    /// ConfigMap whose entry `ca.crt` has the certificate authorities of `url`, such as `kube-root-ca.crt`. The authorities
    /// that browsers trust when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ca_config_map_name: Option<String>,
}

impl AuthSpec {
    /// Returns the settings of a media node whose mounts are folders of `root`.
    pub fn settings(&self, root: &Path) -> AuthSettings {
        AuthSettings {
            publish: self.publish.settings("publish", root),
            play: self.play.settings("play", root),
        }
    }

    /// Returns the Secrets and ConfigMaps that are mounted, each into a folder of its volume's name.
    pub fn mounts(&self) -> Vec<Mount> {
        [self.publish.mounts("publish"), self.play.mounts("play")].concat()
    }
}

impl AccessSpec {
    fn settings(&self, action: &str, root: &Path) -> AccessSettings {
        let folder = |method: &str| root.join(volume(action, method));
        AccessSettings {
            cidrs: CidrLists {
                allow_cidrs: self.allow_cidrs.clone(),
                deny_cidrs: self.deny_cidrs.clone(),
            },
            keys: self.keys.as_ref().map(|_| KeySettings {
                directory: folder("keys"),
            }),
            signed_urls: self.signed_urls.as_ref().map(|urls| SignedUrlSettings {
                directory: folder("signed-urls"),
                rules: urls.rules.clone(),
            }),
            jwt: self.jwt.as_ref().map(|jwt| {
                let key = jwt.jwks.key.as_deref().unwrap_or("jwks.json");
                let is_url = jwt.jwks.url.is_some();
                let has_ca = is_url && jwt.jwks.ca_config_map_name.is_some();
                JwtSettings {
                    jwks_file: (!is_url).then(|| folder("jwks").join(key)),
                    jwks_url: jwt.jwks.url.clone(),
                    ca_file: has_ca.then(|| folder("ca").join(CA_KEY)),
                    rules: jwt.rules.clone(),
                }
            }),
            hook: self.hook.clone(),
        }
    }

    fn mounts(&self, action: &str) -> Vec<Mount> {
        let secret = |name: &String| MountSource::Secret(name.clone());
        let config_map = |name: &String| MountSource::ConfigMap(name.clone());
        let keys = self.keys.as_ref().map(|keys| &keys.secret_name);
        let urls = self.signed_urls.as_ref().map(|urls| &urls.secret_name);
        let jwks = self.jwt.as_ref().map(|jwt| &jwt.jwks);
        let jwks_secret = jwks.and_then(|jwks| jwks.secret_name.as_ref());
        let jwks_config_map = jwks.and_then(|jwks| jwks.config_map_name.as_ref());
        let ca = jwks.and_then(|jwks| jwks.ca_config_map_name.as_ref());
        let all = [
            ("keys", "keys.secretName", keys.map(secret)),
            ("signed-urls", "signedUrls.secretName", urls.map(secret)),
            ("jwks", "jwt.jwks.secretName", jwks_secret.map(secret)),
            (
                "jwks",
                "jwt.jwks.configMapName",
                jwks_config_map.map(config_map),
            ),
            ("ca", "jwt.jwks.caConfigMapName", ca.map(config_map)),
        ];
        let mounts = all.into_iter().filter_map(|(method, field, source)| {
            Some(Mount {
                volume: volume(action, method),
                field: format!("spec.auth.{action}.{field}"),
                source: source?,
            })
        });
        mounts.collect()
    }
}

fn volume(action: &str, method: &str) -> String {
    format!("auth-{action}-{method}")
}

/// Rule of a JSON Web Key Set.
pub(crate) const JWKS_RULES: [Rule<JwksSpec>; 1] = [Rule {
    rule: "[has(self.secretName), has(self.configMapName), has(self.url)].filter(given, given).size() == 1",
    message: "jwks needs exactly one of secretName, configMapName and url",
    holds: Some(|jwks| {
        let given = [
            jwks.secret_name.is_some(),
            jwks.config_map_name.is_some(),
            jwks.url.is_some(),
        ];
        given.into_iter().filter(|given| *given).count() == 1
    }),
}];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: serde_json::Value) -> AuthSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn absent_methods_leave_everything_open() {
        let spec = AuthSpec::default();
        assert_eq!(spec.settings(Path::new("/a")), AuthSettings::default());
        assert!(spec.mounts().is_empty());
    }

    #[test]
    fn every_method_is_mounted_where_the_media_node_reads_it() {
        let spec = parsed(json!({
            "publish": {
                "keys": {"secretName": "k"},
                "jwt": {"jwks": {"configMapName": "j"}, "audiences": ["a"]},
            },
            "play": {
                "signedUrls": {"secretName": "u", "scheme": "tencent"},
                "jwt": {"jwks": {"url": "https://h/jwks", "caConfigMapName": "c"}, "audiences": ["a"]},
            },
        }));
        let settings = spec.settings(Path::new("/auth"));
        let mounts = spec.mounts();
        let mounted = |volume: &str| {
            let mount = mounts.iter().find(|mount| mount.volume == volume);
            mount.unwrap().source.clone()
        };
        let directory = settings.publish.keys.unwrap().directory;
        assert_eq!(directory, Path::new("/auth/auth-publish-keys"));
        assert_eq!(
            mounted("auth-publish-keys"),
            MountSource::Secret("k".to_owned())
        );
        let jwks = settings.publish.jwt.unwrap().jwks_file.unwrap();
        assert_eq!(jwks, Path::new("/auth/auth-publish-jwks/jwks.json"));
        assert_eq!(
            mounted("auth-publish-jwks"),
            MountSource::ConfigMap("j".to_owned())
        );
        let urls = settings.play.signed_urls.unwrap();
        assert_eq!(urls.rules.scheme, media_config::SignedUrlScheme::Tencent);
        let jwt = settings.play.jwt.unwrap();
        assert_eq!(jwt.jwks_file, None);
        assert_eq!(jwt.ca_file.unwrap(), Path::new("/auth/auth-play-ca/ca.crt"));
        assert_eq!(
            mounted("auth-play-ca"),
            MountSource::ConfigMap("c".to_owned())
        );
        assert_eq!(mounts.len(), 4);
    }
}
