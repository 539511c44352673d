//! Node identity: which requests of the internal port come from media nodes of this cluster, and which from the operator.
//!
//! Each request carries a token (`Authorization: Bearer`). In Kubernetes it is the Pod's ServiceAccount token, which the API
//! server signs and the kubelet renews. Without Kubernetes it is signed with a secret that all media nodes share.

mod shared_secret;

use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use media_config::{
    IdentitySettings, JwtAlgorithm, JwtRules, JwtSubject, ServiceAccountSettings, TOKEN_PER_CLUSTER,
};

use super::Denial;
use super::jwt::{KeySet, KeySetSource, Tokens};
use super::mounted::{Files, KeySource, MountError, Mounted};
use shared_secret::SharedSecret;

pub(crate) use shared_secret::api_token;

/// Audience of tokens that the media nodes of every cluster accept: those of an operator of the release before, and without Kubernetes
/// those of people who use the API.
const OPERATOR_AUDIENCE: &str = "livecluster.dev/operator";

/// The algorithms that API servers sign with.
const SERVICE_ACCOUNT_ALGORITHMS: [JwtAlgorithm; 5] = [
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
];

/// The identity of this media node, and the keys by which it recognizes others.
pub(crate) struct NodeIdentity {
    /// Absent where the internal port listens on loopback only.
    credentials: Option<Credentials>,
}

struct Credentials {
    own: OwnToken,
    nodes: Tokens,
    /// The operator's tokens for this cluster. Absent without Kubernetes, and where nothing is known about the operator.
    operators: Option<Tokens>,
    /// The operator's tokens that the media nodes of every cluster accept.
    shared: Option<Tokens>,
    /// Whether the operator has a token for each cluster, so that no other one counts.
    per_cluster: Option<Arc<Mounted<bool>>>,
    sources: Vec<Arc<dyn KeySource>>,
}

enum OwnToken {
    Mounted(Arc<Mounted<HeaderValue>>),
    Signed(Arc<Mounted<SharedSecret>>),
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A media node of this cluster.
    Node,
    /// The operator, or a person with a token for it.
    Operator,
    /// A client of a port that listens on loopback only.
    Local,
}

/// Why the settings cannot be used. Each message names the field.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file cannot be read.
    #[error("identity.{field}: {path} cannot be read: {source}")]
    Read {
        field: &'static str,
        path: String,
        source: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("identity.{field}: {reason}")]
    Invalid { field: &'static str, reason: String },
}

impl NodeIdentity {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn open(settings: &IdentitySettings) -> Result<Self, IdentityError> {
        let credentials = match (&settings.service_account, &settings.secret_file) {
            (Some(account), _) => Some(Credentials::of_service_account(account)?),
            (None, Some(path)) => Some(Credentials::of_secret(path)?),
            (None, None) => None,
        };
        Ok(Self { credentials })
    }

    /// Returns the identity of a media node without any.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { credentials: None }
    }

    /// Returns the value of the header `Authorization` of this media node's requests.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let credentials = self.credentials.as_ref()?;
        match &credentials.own {
            OwnToken::Mounted(token) => Some((*token.value()).clone()),
            OwnToken::Signed(secret) => secret.value().authorization(super::now()),
        }
    }

    /// Returns who sends a request with this header `Authorization`.
    ///
    /// # Errors
    /// [`Denial`]: why the token is not accepted.
    pub(crate) fn judge(&self, authorization: Option<&HeaderValue>) -> Result<Caller, Denial> {
        let Some(credentials) = &self.credentials else {
            return Ok(Caller::Local);
        };
        let value = authorization.ok_or(Denial::NoCredential)?.to_str();
        let (scheme, token) = value
            .ok()
            .and_then(|value| value.split_once(' '))
            .ok_or(Denial::Token)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(Denial::Token);
        }
        let Err(denial) = credentials.nodes.judge(token) else {
            return Ok(Caller::Node);
        };
        let operators = [credentials.operators.as_ref(), credentials.shared()];
        let mut reason = denial;
        for tokens in operators.into_iter().flatten() {
            match tokens.judge(token) {
                Ok(_) => return Ok(Caller::Operator),
                // The token is not made for the operator, so that the first reason is the right one.
                Err(Denial::Token) => {}
                Err(other) => reason = other,
            }
        }
        Err(reason)
    }

    /// Reads the files again.
    pub(crate) fn reload(&self) {
        for source in self.credentials.iter().flat_map(|it| &it.sources) {
            source.reload();
        }
    }
}

impl Credentials {
    /// Returns the judge of the operator's tokens for all clusters, unless the operator has one for each.
    fn shared(&self) -> Option<&Tokens> {
        let per_cluster = self.per_cluster.as_ref();
        let are_replaced = per_cluster.is_some_and(|per_cluster| *per_cluster.value());
        self.shared.as_ref().filter(|_| !are_replaced)
    }

    fn of_service_account(settings: &ServiceAccountSettings) -> Result<Self, IdentityError> {
        let field = "serviceAccount.tokenFile";
        let own = Arc::new(mount(field, &settings.token_file, own_token)?);
        let field = "serviceAccount.jwksFile";
        let keys = Arc::new(mount(field, &settings.jwks_file, KeySet::of_file)?);
        let per_cluster = Arc::new(mount(field, &settings.jwks_file, has_token_per_cluster)?);
        let judge = |audience: &str, subjects: &[String]| {
            let rules = rules(&SERVICE_ACCOUNT_ALGORITHMS, audience, subjects);
            Tokens::with_rules(KeySetSource::File(Arc::clone(&keys)), rules)
        };
        let operators = |audience| {
            let subjects = Some(&settings.operators).filter(|subjects| !subjects.is_empty());
            subjects.map(|subjects| judge(audience, subjects))
        };
        Ok(Self {
            nodes: judge(&settings.audience, &settings.nodes),
            operators: operators(&settings.audience),
            shared: operators(OPERATOR_AUDIENCE),
            sources: vec![
                Arc::clone(&own) as _,
                Arc::clone(&keys) as _,
                Arc::clone(&per_cluster) as _,
            ],
            per_cluster: Some(per_cluster),
            own: OwnToken::Mounted(own),
        })
    }

    fn of_secret(path: &Path) -> Result<Self, IdentityError> {
        let own = Arc::new(mount("secretFile", path, SharedSecret::parse)?);
        let keys = Arc::new(mount("secretFile", path, KeySet::of_secrets)?);
        let judge = |audience: &str, subject: &str| {
            let rules = rules(&[JwtAlgorithm::HS256], audience, &[subject.to_owned()]);
            Tokens::with_rules(KeySetSource::File(Arc::clone(&keys)), rules)
        };
        Ok(Self {
            nodes: judge(shared_secret::NODE_AUDIENCE, shared_secret::NODE),
            operators: None,
            shared: Some(judge(OPERATOR_AUDIENCE, shared_secret::OPERATOR)),
            per_cluster: None,
            sources: vec![Arc::clone(&own) as _, Arc::clone(&keys) as _],
            own: OwnToken::Signed(own),
        })
    }
}

fn mount<T>(
    field: &'static str,
    path: &Path,
    parse: fn(&Files) -> Result<T, String>,
) -> Result<Mounted<T>, IdentityError> {
    Mounted::open(path, parse).map_err(|error| match error {
        MountError::Read(source) => IdentityError::Read {
            field,
            path: path.display().to_string(),
            source,
        },
        MountError::Invalid(reason) => IdentityError::Invalid { field, reason },
    })
}

/// Reads from the only file of a mount, a key set, whether the operator has a token for each cluster.
fn has_token_per_cluster(files: &Files) -> Result<bool, String> {
    let content = files.values().next().ok_or("the file is missing")?;
    let set: serde_json::Value = serde_json::from_slice(content)
        .map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    Ok(set[TOKEN_PER_CLUSTER] == true)
}

/// Reads the only file of a mount, a token.
fn own_token(files: &Files) -> Result<HeaderValue, String> {
    let content = files.values().next().ok_or("the file is missing")?;
    bearer(content.trim_ascii())
}

/// Returns a token as the value of a header, which is not shown in logs.
fn bearer(token: &[u8]) -> Result<HeaderValue, String> {
    if token.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let value = [b"Bearer ", token].concat();
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| "not a token")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Tokens of these subjects, of which there is at least one, with this audience.
fn rules(algorithms: &[JwtAlgorithm], audience: &str, subjects: &[String]) -> JwtRules {
    let subjects = subjects.iter().map(|subject| JwtSubject {
        subject: subject.clone(),
        streams: Vec::new(),
    });
    JwtRules {
        audiences: vec![audience.to_owned()],
        issuer: None,
        algorithms: algorithms.to_vec(),
        subjects: subjects.collect(),
    }
}

#[cfg(test)]
mod tests;
