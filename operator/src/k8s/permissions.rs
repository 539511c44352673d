//! What the operator may do, asked at its start: a missing permission is named, instead of a silence that looks like
//! slowness.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::k8s::client::{CallError, Calls};

/// Verbs, group and resource (with subresource) that a pass needs where clusters are.
const NEEDED: &[(&[&str], &str, &str)] = &[
    (&["get", "list", "watch"], "livecluster.dev", "liveclusters"),
    (&["patch"], "livecluster.dev", "liveclusters/status"),
    (CHILD, "apps", "deployments"),
    (&["patch"], "apps", "deployments/scale"),
    (CHILD, "", "services"),
    (CHILD, "", "configmaps"),
    (CHILD, "", "serviceaccounts"),
    (CHILD, "policy", "poddisruptionbudgets"),
    (CHILD, "networking.k8s.io", "networkpolicies"),
    (&["list", "watch"], "", "pods"),
    (&["create", "patch"], "events.k8s.io", "events"),
];
/// What is done with the objects of a cluster. A server-side apply needs both `create` and `patch`.
const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// Needed only where Secrets are looked for.
const SECRETS: (&[&str], &str, &str) = (&["get"], "", "secrets");
/// Needed in the operator's own namespace.
const LEASES: (&[&str], &str, &str) = (
    &["get", "create", "update"],
    "coordination.k8s.io",
    "leases",
);

/// Why the operator does not start.
#[derive(Debug, thiserror::Error)]
pub enum PermissionError {
    /// The API did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Something is not allowed.
    #[error("the operator lacks permissions: {}", .0.join("; "))]
    Missing(Vec<String>),
}

/// Where and how the operator works.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The namespaces whose clusters it runs; all when empty.
    pub watched: Vec<String>,
    /// Its own namespace.
    pub own: String,
    /// Whether it looks for Secrets.
    pub secrets: bool,
}

/// Asks for every permission that the operator needs.
///
/// # Errors
/// [`PermissionError::Missing`] names all that are missing.
pub async fn check(client: &Client, calls: &Calls, scope: &Scope) -> Result<(), PermissionError> {
    let mut missing = Vec::new();
    let everywhere = [String::new()];
    let watched: &[String] = match scope.watched.as_slice() {
        [] => &everywhere,
        namespaces => namespaces,
    };
    let secrets = scope.secrets.then_some(&SECRETS);
    for namespace in watched {
        for needed in NEEDED.iter().chain(secrets) {
            missing.extend(lacking(client, calls, namespace, *needed).await?);
        }
    }
    missing.extend(lacking(client, calls, &scope.own, LEASES).await?);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PermissionError::Missing(missing))
    }
}

/// The verbs that are missing, as one line.
async fn lacking(
    client: &Client,
    calls: &Calls,
    namespace: &str,
    (verbs, group, resource): (&[&str], &str, &str),
) -> Result<Option<String>, CallError> {
    let mut lacking = Vec::new();
    for verb in verbs {
        if !is_allowed(client, calls, namespace, [verb, group, resource]).await? {
            lacking.push(*verb);
        }
    }
    if lacking.is_empty() {
        return Ok(None);
    }
    let place = match namespace {
        "" => "in all namespaces".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    let dot = if group.is_empty() { "" } else { "." };
    Ok(Some(format!(
        "{} on {resource}{dot}{group} {place}",
        lacking.join(",")
    )))
}

async fn is_allowed(
    client: &Client,
    calls: &Calls,
    namespace: &str,
    [verb, group, resource]: [&str; 3],
) -> Result<bool, CallError> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: some(verb),
                group: some(group),
                resource: some(resource),
                subresource: some(subresource),
                namespace: some(namespace),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let call = api.create(&params, &review);
    let answer = calls
        .call("create", "SelfSubjectAccessReview", "", call)
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;
    use crate::monitoring::metrics::Metrics;

    /// An API that denies what `denies` says.
    fn api(denies: fn(&Value) -> bool) -> Client {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        tokio::spawn(async move {
            while let Some((request, answer)) = handle.next_request().await {
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                let allowed = !denies(&review["spec"]["resourceAttributes"]);
                review["status"] = json!({"allowed": allowed});
                answer.send_response(Response::new(Body::from(review.to_string().into_bytes())));
            }
        });
        Client::new(service, "default")
    }

    fn scope(watched: &[&str]) -> Scope {
        Scope {
            watched: watched.iter().map(|text| (*text).to_owned()).collect(),
            own: "system".to_owned(),
            secrets: true,
        }
    }

    async fn verdict(denies: fn(&Value) -> bool, scope: &Scope) -> String {
        let calls = Calls::new(Metrics::new().unwrap());
        match check(&api(denies), &calls, scope).await {
            Ok(()) => "all is well".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn all_permissions_are_enough() {
        assert_eq!(verdict(|_| false, &scope(&[])).await, "all is well");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let denies = |review: &Value| {
            (review["resource"] == "services" && review["verb"] == "delete")
                || review["subresource"] == "scale"
                || review["resource"] == "leases" && review["verb"] != "get"
        };
        assert_eq!(
            verdict(denies, &scope(&[])).await,
            "the operator lacks permissions: patch on deployments/scale.apps in all namespaces; \
             delete on services in all namespaces; \
             create,update on leases.coordination.k8s.io in namespace system"
        );
    }

    #[tokio::test]
    async fn a_namespace_is_named_where_only_some_are_watched() {
        let denies = |review: &Value| {
            review["namespace"] == "b" && review["resource"] == "pods" && review["verb"] == "watch"
        };
        assert_eq!(
            verdict(denies, &scope(&["a", "b"])).await,
            "the operator lacks permissions: watch on pods in namespace b"
        );
    }

    #[tokio::test]
    async fn secrets_are_no_matter_where_they_are_not_looked_for() {
        let denies = |review: &Value| review["resource"] == "secrets";
        let mut scope = scope(&[]);
        assert!(verdict(denies, &scope).await.contains("get on secrets"));
        scope.secrets = false;
        assert_eq!(verdict(denies, &scope).await, "all is well");
    }
}
