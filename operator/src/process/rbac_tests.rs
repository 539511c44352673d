//! The chart's roles allow the calls of an operator's life, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client};
use livecluster_api::ClusterName;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::leader;
use super::leader_election::LeaderElector;
use crate::desired::defaults::Defaults;
use crate::k8s::fake_api::{FakeApi, FakeRequest};
use crate::k8s::permissions;
use crate::k8s::write_fence::WriteFence;
use crate::reconcile::controller::ControllerContext;
use crate::reconcile::reconciler::Reconciler;

const CLUSTER: &str = "liveclusters/demo";

/// Verbs with their resources.
type Rights = BTreeSet<(String, String)>;

#[tokio::test(start_paused = true)]
async fn chart_allows_what_the_operator_calls_and_nothing_else() {
    let (client, api) = FakeApi::start();
    elect(&client).await;
    api.serve_gateway_api("v1", &["gateways", "httproutes", "tlsroutes", "tcproutes"]);
    put_cluster(
        &api,
        json!({
            "imagePullSecrets": [{"name": "registry"}],
            "edges": {"replicas": 3},
            "tls": {"secretName": "certificate"},
            "gateway": {
                "hostnames": ["live.example.com"],
                "parentRefs": [{"name": "public", "routes": ["edge-http", "edge-https", "edge-rtmp"]}]
            }
        }),
    );
    let options = Defaults {
        operator_namespace: Some("system".to_owned()),
        operator_account: Some("operator".to_owned()),
        ..Defaults::default()
    };
    let reconciler = Reconciler::with_options(client, options);
    let context = Arc::new(ControllerContext::new(reconciler, Arc::default()));
    lead(&context).await;
    settle(&api);
    retire_edge(&api, &context).await;
    remove_optional_objects(&api, &context).await;
    meet_another_operator(&api, &context).await;
    let right = |verb: &str, resource: &str| (verb.to_owned(), resource.to_owned());
    // No request: the admission of an owner reference that blocks the owner's deletion, where OpenShift asks for it.
    let finalizers = right("update", "liveclusters/finalizers");
    let mut used: Rights = api.requests().iter().flat_map(rights).collect();
    used.insert(finalizers.clone());
    assert_eq!(used, chart());
    let verified = permissions::verified();
    let mut verified: Rights = verified
        .map(|(verb, resource)| right(verb, resource))
        .collect();
    verified.insert(finalizers);
    // Without it, the addresses of Gateways are missing, and nothing else.
    verified.insert(right("get", "gateways"));
    assert_eq!(verified, chart());
}

/// Acquires and releases the Lease.
async fn elect(client: &Client) {
    let api = Api::namespaced(client.clone(), "system");
    let lease = "operator".to_owned();
    let mut elector = LeaderElector::new(
        api,
        lease,
        "pod".to_owned(),
        BTreeMap::new(),
        WriteFence::closed(),
    );
    elector.acquire(|| {}).await;
    let stop = CancellationToken::new();
    stop.cancel();
    elector.hold(&stop, || {}).await.unwrap();
}

/// Runs the controllers until they have created everything.
async fn lead(context: &Arc<ControllerContext>) {
    let stop = CancellationToken::new();
    let run = leader::run(Arc::clone(context), Vec::new(), None, &stop);
    let ran = tokio::time::timeout(Duration::from_secs(30), run).await;
    assert!(ran.is_err(), "the controllers go on");
}

async fn reconcile(context: &ControllerContext) {
    let name = ClusterName::new("media", "demo");
    context.reconciler.reconcile(&name).await.unwrap();
}

async fn edit_spec(api: &FakeApi, context: &ControllerContext, edit: impl FnOnce(&mut Value)) {
    api.edit(CLUSTER, |object| {
        edit(&mut object["spec"]);
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = (generation + 1).into();
    });
    reconcile(context).await;
}

/// Marks the emptiest edge when fewer are wanted.
async fn retire_edge(api: &FakeApi, context: &ControllerContext) {
    let deployment = api.object("deployments/demo-edge").unwrap();
    for name in ["a", "b", "c"] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "media", "uid": name,
                "labels": deployment["spec"]["template"]["metadata"]["labels"]
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        });
        api.put(&format!("pods/{name}"), pod);
    }
    edit_spec(api, context, |spec| spec["edges"]["replicas"] = 2.into()).await;
}

/// Removes all that is not in every cluster, and repeats an event.
async fn remove_optional_objects(api: &FakeApi, context: &ControllerContext) {
    for paused in [true, false, true] {
        edit_spec(api, context, |spec| spec["paused"] = paused.into()).await;
    }
    edit_spec(api, context, |spec| {
        *spec = json!({
            "networkPolicy": {"enabled": false},
            "stream": {"lingerSeconds": 3},
            "origins": {"podDisruptionBudget": {"enabled": false}, "serviceAccountName": "own"},
            "edges": {"podDisruptionBudget": {"enabled": false}, "serviceAccountName": "own"}
        });
    })
    .await;
}

async fn meet_another_operator(api: &FakeApi, context: &ControllerContext) {
    let other = json!({"namespace": "other", "lease": "livecluster-operator"});
    api.edit(CLUSTER, |object| object["status"]["operator"] = other);
    reconcile(context).await;
}

fn put_cluster(api: &FakeApi, spec: Value) {
    let cluster = json!({
        "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
        "metadata": {"name": "demo", "namespace": "media", "uid": "demo-uid", "generation": 1},
        "spec": spec
    });
    api.put(CLUSTER, cluster);
}

/// Acts as the Deployment controller.
fn settle(api: &FakeApi) {
    for path in ["deployments/demo-edge", "deployments/demo-origin"] {
        api.edit(path, |object| {
            let replicas = object["spec"]["replicas"].clone();
            object["status"] = json!({
                "observedGeneration": object["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas
            });
        });
    }
}

/// Returns the rights that a request needs.
fn rights(request: &FakeRequest) -> Vec<(String, String)> {
    let parts: Vec<_> = request.path.split('/').collect();
    let resource = match parts.as_slice() {
        // Every ServiceAccount may read the API server's keys and the kinds that it serves.
        ["jwks"] => return Vec::new(),
        [version] if version.starts_with("v1") => return Vec::new(),
        [plural, _, subresource] => format!("{plural}/{subresource}"),
        [plural, ..] => (*plural).to_owned(),
        [] => panic!("{request:?}"),
    };
    let is_apply = request.query.contains("force=true") && parts.len() == 2;
    let verbs: &[&str] = match (request.method.as_str(), parts.len()) {
        ("GET", 1) if request.is_watch() => &["watch"],
        ("GET", 1) => &["list"],
        ("GET", _) => &["get"],
        ("POST", _) => &["create"],
        ("PUT", _) => &["update"],
        ("DELETE", _) => &["delete"],
        ("PATCH", _) if is_apply => &["create", "patch"],
        ("PATCH", _) => &["patch"],
        _ => panic!("{request:?}"),
    };
    let verbs = verbs.iter();
    verbs
        .map(|verb| ((*verb).to_owned(), resource.clone()))
        .collect()
}

/// Returns the rights that the chart gives to the operator, with every option.
fn chart() -> Rights {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/livecluster/templates/rbac.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    // The roles after these lines are those of users.
    let (operator, _) = text.split_once("# Permissions of users").unwrap();
    let list = |line: &str, field: &str| {
        let items = line.trim().strip_prefix(field)?.trim();
        let items = items.strip_prefix('[')?.strip_suffix(']')?;
        Some(items.split(", ").map(str::to_owned).collect::<Vec<_>>())
    };
    let mut rights = Rights::new();
    let mut resources = Vec::new();
    for line in operator.lines() {
        if let Some(named) = list(line, "resources:") {
            resources = named;
        }
        for verb in list(line, "verbs:").unwrap_or_default() {
            let of_verb = resources
                .iter()
                .map(|resource| (verb.clone(), resource.clone()));
            rights.extend(of_verb);
        }
    }
    assert!(rights.len() > 20, "{rights:?}");
    rights
}
