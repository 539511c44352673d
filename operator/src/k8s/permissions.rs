//! Verifies the operator's permissions at its start: a missing one is named then, instead of showing up later as a
//! cluster that does not progress.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::k8s::call_error::CallError;

/// Verbs, group and resource (with subresource).
type Permission = (&'static [&'static str], &'static str, &'static str);

/// Needed in the namespaces of the clusters.
const NEEDED: &[Permission] = &[
    (&["get", "list", "watch"], "livecluster.dev", "liveclusters"),
    (&["patch"], "livecluster.dev", "liveclusters/status"),
    (KEPT_CHILD, "apps", "deployments"),
    (&["patch"], "apps", "deployments/scale"),
    (KEPT_CHILD, "", "services"),
    (CHILD, "", "configmaps"),
    (CHILD, "", "serviceaccounts"),
    (CHILD, "policy", "poddisruptionbudgets"),
    (CHILD, "networking.k8s.io", "networkpolicies"),
    (CHILD, "gateway.networking.k8s.io", "httproutes"),
    (CHILD, "gateway.networking.k8s.io", "tlsroutes"),
    (CHILD, "gateway.networking.k8s.io", "tcproutes"),
    (&["list", "watch", "patch"], "", "pods"),
    (&["create", "patch"], "events.k8s.io", "events"),
];
/// Verbs for the objects of a cluster. A server-side apply needs both `create` and `patch`.
const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// The same for kinds of which every cluster has all objects to its end.
const KEPT_CHILD: &[&str] = &["get", "list", "watch", "create", "patch"];
/// Needed only to verify references to Secrets.
const SECRETS: Permission = (&["get"], "", "secrets");
/// Needed in the operator's own namespace, for its Lease.
const LEASE: Permission = (&["get", "update"], "coordination.k8s.io", "leases");
/// Needed in the operator's own namespace: the Lease does not exist yet.
const LEASES: Permission = (&["create"], "coordination.k8s.io", "leases");
/// Needed in the operator's own namespace, for its tokens for media nodes.
const TOKEN: Permission = (&["create"], "", "serviceaccounts/token");

/// The permissions are missing, or cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum PermissionError {
    /// A request failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Permissions are missing.
    #[error("the operator lacks permissions: {}", .0.join("; "))]
    Missing(Vec<String>),
}

/// The scope of the operator's work.
#[derive(Clone, Debug)]
pub struct PermissionScope {
    /// Namespaces of the clusters; all namespaces when empty.
    pub watched: Vec<String>,
    /// Namespace of the operator.
    pub own: String,
    /// Name of the operator's Lease.
    pub lease: String,
    /// Name of the operator's ServiceAccount, where it has one.
    pub account: Option<String>,
    /// Whether references to Secrets are verified.
    pub secrets: bool,
}

/// Returns the verbs that are verified, each with its resource.
#[cfg(test)]
pub(crate) fn verified() -> impl Iterator<Item = (&'static str, &'static str)> {
    let needed = NEEDED.iter().chain([&SECRETS, &LEASE, &LEASES, &TOKEN]);
    needed.flat_map(|(verbs, _, resource)| verbs.iter().map(|verb| (*verb, *resource)))
}

/// Verifies that the operator has all permissions it needs.
///
/// # Errors
/// See [`PermissionError`]. [`PermissionError::Missing`] names all missing permissions.
pub async fn verify(client: &Client, scope: &PermissionScope) -> Result<(), PermissionError> {
    let mut missing = Vec::new();
    let everywhere = [String::new()];
    let watched: &[String] = match scope.watched.as_slice() {
        [] => &everywhere,
        namespaces => namespaces,
    };
    let secrets = scope.secrets.then_some(&SECRETS);
    for namespace in watched {
        for needed in NEEDED.iter().chain(secrets) {
            missing.extend(missing_verbs(client, namespace, "", *needed).await?);
        }
    }
    missing.extend(missing_verbs(client, &scope.own, &scope.lease, LEASE).await?);
    missing.extend(missing_verbs(client, &scope.own, "", LEASES).await?);
    if let Some(account) = &scope.account {
        missing.extend(missing_verbs(client, &scope.own, account, TOKEN).await?);
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PermissionError::Missing(missing))
    }
}

/// Returns the missing verbs of a permission, as one line. `name` is that of an object, empty for all objects.
async fn missing_verbs(
    client: &Client,
    namespace: &str,
    name: &str,
    (verbs, group, resource): Permission,
) -> Result<Option<String>, CallError> {
    let mut missing = Vec::new();
    for verb in verbs {
        if !is_allowed(client, namespace, name, [verb, group, resource]).await? {
            missing.push(*verb);
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let location = match namespace {
        "" => "in all namespaces".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    let dot = if group.is_empty() { "" } else { "." };
    Ok(Some(format!(
        "{} on {resource}{dot}{group} {location}",
        missing.join(",")
    )))
}

async fn is_allowed(
    client: &Client,
    namespace: &str,
    name: &str,
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
                name: some(name),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let reviewed = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(CallError::on("create", "SelfSubjectAccessReview", ""))?;
    Ok(reviewed.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;

    /// Returns a client of an API server that denies the reviews for which `denies` returns true.
    fn api(denies: fn(&Value) -> bool) -> Client {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        tokio::spawn(async move {
            while let Some((request, responder)) = handle.next_request().await {
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                let allowed = !denies(&review["spec"]["resourceAttributes"]);
                review["status"] = json!({"allowed": allowed});
                responder.send_response(Response::new(Body::from(review.to_string().into_bytes())));
            }
        });
        Client::new(service, "default")
    }

    fn scope(watched: &[&str]) -> PermissionScope {
        PermissionScope {
            watched: watched.iter().map(|text| (*text).to_owned()).collect(),
            own: "system".to_owned(),
            lease: "operator".to_owned(),
            account: Some("operator".to_owned()),
            secrets: true,
        }
    }

    async fn result(denies: fn(&Value) -> bool, scope: &PermissionScope) -> String {
        match verify(&api(denies), scope).await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn no_permission_is_missing() {
        assert_eq!(result(|_| false, &scope(&[])).await, "ok");
    }

    #[tokio::test]
    async fn all_missing_permissions_are_named() {
        let denies = |review: &Value| {
            (review["resource"] == "services" && review["verb"] == "create")
                || review["subresource"] == "scale"
                || review["resource"] == "leases" && review["verb"] != "get"
        };
        assert_eq!(
            result(denies, &scope(&[])).await,
            "the operator lacks permissions: patch on deployments/scale.apps in all namespaces; \
             create on services in all namespaces; \
             update on leases.coordination.k8s.io in namespace system; \
             create on leases.coordination.k8s.io in namespace system"
        );
    }

    #[tokio::test]
    async fn namespace_of_missing_permission_is_named() {
        let denies = |review: &Value| {
            review["namespace"] == "b" && review["resource"] == "pods" && review["verb"] == "watch"
        };
        assert_eq!(
            result(denies, &scope(&["a", "b"])).await,
            "the operator lacks permissions: watch on pods in namespace b"
        );
    }

    #[tokio::test]
    async fn secrets_are_needed_only_to_verify_references() {
        let denies = |review: &Value| review["resource"] == "secrets";
        let mut scope = scope(&[]);
        assert!(result(denies, &scope).await.contains("get on secrets"));
        scope.secrets = false;
        assert_eq!(result(denies, &scope).await, "ok");
    }
}
