//! The operator's tokens for media nodes: one for each LiveCluster, whose audience no other one accepts.
//!
//! A Pod that is taken over sees the token of the operator that asks it for a summary. It is of no use elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use livecluster_api::ClusterName;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::desired::defaults::Defaults;
use crate::desired::identity;
use crate::k8s::call_error::CallError;

/// Time after which another token is requested: 80 % of the time that one is valid, as the kubelet does.
const RENEWAL: Duration = Duration::from_secs(identity::TOKEN_SECONDS.unsigned_abs() / 5 * 4);
/// Time after which a request that failed is repeated.
const RETRY: Duration = Duration::from_secs(30);

/// The tokens that the API server has issued to this operator.
#[derive(Debug)]
pub struct NodeTokens {
    /// Namespace and name of the operator's ServiceAccount; `None` outside of a Kubernetes cluster.
    account: Option<(String, String)>,
    issued: Mutex<HashMap<ClusterName, IssuedToken>>,
}

/// The newest token for a cluster.
#[derive(Clone, Debug)]
struct IssuedToken {
    /// `None` where no request has succeeded.
    authorization: Option<HeaderValue>,
    renew_at: Instant,
}

impl NodeTokens {
    /// Returns the tokens of the ServiceAccount that the options name.
    pub fn new(defaults: &Defaults) -> Self {
        let (namespace, account) = (&defaults.operator_namespace, &defaults.operator_account);
        Self {
            account: namespace.clone().zip(account.clone()),
            issued: Mutex::default(),
        }
    }

    /// Returns the value of the header `Authorization` of requests to the media nodes of a cluster. `None` where the operator has
    /// no ServiceAccount, and until the API server has issued a token.
    pub async fn authorization(
        &self,
        client: &Client,
        cluster: &ClusterName,
    ) -> Option<HeaderValue> {
        let account = self.account.as_ref()?;
        let last = self.issued.lock().get(cluster).cloned();
        let last = match last {
            Some(last) if Instant::now() < last.renew_at => return last.authorization,
            last => last.and_then(|last| last.authorization),
        };
        let (authorization, wait) = match request(client, account, cluster).await {
            Ok(issued @ Some(_)) => (issued, RENEWAL),
            Ok(None) => (last, RETRY),
            Err(error) => {
                tracing::warn!(%cluster, %error, "no token for the media nodes");
                (last, RETRY)
            }
        };
        let issued = IssuedToken {
            authorization: authorization.clone(),
            renew_at: Instant::now() + wait,
        };
        self.issued.lock().insert(cluster.clone(), issued);
        authorization
    }

    /// Drops the token for a cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        self.issued.lock().remove(cluster);
    }
}

/// Requests a token of an account for the media nodes of a cluster.
async fn request(
    client: &Client,
    (namespace, account): &(String, String),
    cluster: &ClusterName,
) -> Result<Option<HeaderValue>, CallError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![identity::audience(cluster)],
            expiration_seconds: Some(identity::TOKEN_SECONDS),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let issued = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(CallError::on("create", "ServiceAccount/token", account))?;
    Ok(issued.status.and_then(|status| bearer(&status.token)))
}

/// Returns a token as the value of a header, which is not shown in logs.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::time::advance;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    const PATH: &str = "serviceaccounts/operator/token";

    fn tokens() -> NodeTokens {
        NodeTokens::new(&Defaults {
            operator_namespace: Some("system".to_owned()),
            operator_account: Some("operator".to_owned()),
            ..Defaults::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn each_cluster_has_a_token_of_its_own_audience_that_is_renewed() {
        let (client, api) = FakeApi::start();
        let (tokens, first) = (tokens(), ClusterName::new("a", "demo"));
        let audiences = || {
            let requests = api.requests().into_iter();
            let requests = requests.filter(|request| request.path == PATH);
            requests
                .map(|request| request.body["spec"]["audiences"].to_string())
                .collect::<Vec<_>>()
        };
        let token = tokens.authorization(&client, &first).await.unwrap();
        assert!(token.is_sensitive());
        let second = ClusterName::new("b", "demo");
        let other = tokens.authorization(&client, &second).await.unwrap();
        assert_ne!(token, other);
        let expected = [
            r#"["livecluster.dev/a/demo"]"#,
            r#"["livecluster.dev/b/demo"]"#,
        ];
        assert_eq!(audiences(), expected);
        advance(RENEWAL - Duration::from_secs(1)).await;
        assert_eq!(tokens.authorization(&client, &first).await, Some(token));
        assert!(audiences().is_empty());
        advance(Duration::from_secs(2)).await;
        tokens.authorization(&client, &first).await;
        assert_eq!(audiences(), expected[..1]);
    }

    #[tokio::test(start_paused = true)]
    async fn last_token_is_used_while_the_api_server_issues_none() {
        let (client, api) = FakeApi::start();
        let (tokens, cluster) = (tokens(), ClusterName::new("a", "demo"));
        let token = tokens.authorization(&client, &cluster).await;
        advance(RENEWAL).await;
        api.refuse(Method::POST, PATH, 403, "Forbidden", "no");
        api.requests();
        for _ in 0..3 {
            assert_eq!(tokens.authorization(&client, &cluster).await, token);
        }
        assert_eq!(
            api.requests().len(),
            1,
            "a failed request is repeated later"
        );
        api.stop_refusing();
        advance(RETRY).await;
        tokens.authorization(&client, &cluster).await;
        assert_eq!(api.requests().len(), 1);
    }

    #[tokio::test]
    async fn operator_without_a_service_account_requests_nothing() {
        let (client, api) = FakeApi::start();
        let tokens = NodeTokens::new(&Defaults::default());
        let cluster = ClusterName::new("a", "demo");
        assert_eq!(tokens.authorization(&client, &cluster).await, None);
        assert!(api.requests().is_empty());
    }
}
