//! How media nodes prove to each other who they are.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Member of a cluster's key set by which the operator declares that it has a token for each cluster. Media nodes then refuse the
/// operator's other tokens, because the media nodes of every cluster could use those.
pub const TOKEN_PER_CLUSTER: &str = "livecluster.dev/tokenPerCluster";

/// How the media nodes of one cluster prove to each other who they are on the internal port. Without either field, the internal
/// port listens on loopback only and asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IdentitySettings {
    /// The file with a secret that all media nodes of the cluster share, of at least 32 bytes. During a rotation it has one secret
    /// a line: the first one signs, all of them are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Tokens of Kubernetes ServiceAccounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountSettings>,
}

impl IdentitySettings {
    /// Returns whether the internal port asks for tokens.
    pub fn is_set(&self) -> bool {
        self.secret_file.is_some() || self.service_account.is_some()
    }
}

/// Tokens of Kubernetes ServiceAccounts: the kubelet renews them, and the keys of the API server verify them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSettings {
    /// The file with this media node's own token.
    pub token_file: PathBuf,
    /// The file with the API server's public keys, a JSON Web Key Set.
    pub jwks_file: PathBuf,
    /// The audience of tokens for the media nodes of this cluster, which no other cluster has.
    pub audience: String,
    /// Subjects of the media nodes, `system:serviceaccount:NAMESPACE:NAME`.
    pub nodes: Vec<String>,
    /// Subjects of the operator. Their tokens may have the audience `livecluster.dev/operator` unless the key set has
    /// [`TOKEN_PER_CLUSTER`]: the operator of the release before has no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}
