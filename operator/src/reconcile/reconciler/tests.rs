//! Reconciliations against a fake API server.

use std::time::Duration;

use http::Method;
use livecluster_api::OperatorName;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::k8s::fake_api::FakeApi;
use crate::reconcile::requeue::{PROGRESSING_INTERVAL, SETTLED_INTERVAL, WAITING_INTERVAL, jitter};

mod api_keys;
mod autoscaling;
mod claims;
mod definitions;
mod edits;
mod gateways;
mod joins;
mod origins;
mod own_writes;
mod ownership;
mod rejections;
mod retirement;
mod rollouts;
mod status_writes;

const CLUSTER: &str = "liveclusters/demo";
const EDGE: &str = "deployments/demo-edge";
const ORIGIN: &str = "deployments/demo-origin";

fn new_reconciler(client: Client) -> Reconciler {
    let defaults = Defaults {
        image: "media-node:1".to_owned(),
        ..Defaults::default()
    };
    let metrics = OperatorMetrics::new().unwrap();
    let reporter = Reporter::from("test");
    Reconciler::new(client, reporter, metrics, defaults, true, identity(), PACE)
}

const PACE: UpgradePace = UpgradePace {
    concurrency: 1,
    pause: Duration::from_secs(30),
};

fn identity() -> OperatorIdentity {
    OperatorIdentity {
        name: OperatorName {
            namespace: "livecluster-system".to_owned(),
            lease: "livecluster-operator".to_owned(),
        },
        class: String::new(),
    }
}

struct ReconcilerFixture {
    api: FakeApi,
    reconciler: Reconciler,
}

impl ReconcilerFixture {
    /// Starts an API server with a cluster with this spec.
    fn new(spec: Value) -> Self {
        let (client, api) = FakeApi::start();
        let reconciler = new_reconciler(client);
        api.put(
            CLUSTER,
            json!({
                "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
                "metadata": {"name": "demo", "namespace": "media", "uid": "demo-uid", "generation": 1},
                "spec": spec,
                "status": {"operator": identity().name}
            }),
        );
        Self { api, reconciler }
    }

    async fn try_reconcile(&self) -> Result<Action, ApplyError> {
        let name = ClusterName::new("media", "demo");
        self.reconciler.reconcile(&name).await
    }

    async fn reconcile(&self) -> Action {
        self.try_reconcile().await.unwrap()
    }

    /// Acts as the Deployment controller: all Pods exist, are updated and ready.
    fn settle(&self) {
        for path in [EDGE, ORIGIN] {
            self.settle_one(path);
        }
    }

    fn settle_one(&self, path: &str) {
        self.api.edit(path, |object| {
            let replicas = object["spec"]["replicas"].clone();
            object["status"] = json!({
                "observedGeneration": object["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas
            });
        });
    }

    /// Starts a Pod of a Deployment, with an address of its own for each number. Its UID is its name.
    fn start_pod(&self, path: &str, name: &str, number: usize) {
        let deployment = self.api.object(path).unwrap();
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "media", "uid": name, "labels": labels},
            "status": {
                "phase": "Running", "podIP": format!("192.0.2.{number}"),
                "conditions": [{"type": "Ready", "status": "True"}]
            }
        });
        self.api.put(&format!("pods/{name}"), pod);
    }

    /// Returns a settled cluster, with an empty list of requests.
    async fn settled(spec: Value) -> Self {
        let fixture = Self::new(spec);
        fixture.reconcile().await;
        fixture.settle();
        fixture.reconcile().await;
        fixture.api.requests();
        fixture
    }

    fn edit_spec(&self, edit: impl FnOnce(&mut Value)) {
        self.api.edit(CLUSTER, |object| {
            edit(&mut object["spec"]);
            let generation = object["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = (generation + 1).into();
        });
    }

    /// Returns a condition of the status as "False NameConflict: message".
    fn condition(&self, kind: &str) -> String {
        let cluster = self.api.object(CLUSTER).unwrap();
        let conditions = cluster["status"]["conditions"].as_array().unwrap();
        let found = conditions
            .iter()
            .find(|found| found["type"] == kind)
            .unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("status"), text("reason"), text("message"))
    }

    /// Returns the path of the ConfigMap that the Pods of a Deployment mount.
    fn config_path(&self, path: &str) -> String {
        let deployment = self.api.object(path).unwrap();
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        format!(
            "configmaps/{}",
            volume["configMap"]["name"].as_str().unwrap()
        )
    }

    /// Returns the configuration of the Pods of a Deployment.
    fn config(&self, path: &str) -> String {
        let config = self.api.object(&self.config_path(path)).unwrap();
        config["data"]["config.yaml"].as_str().unwrap().to_owned()
    }

    fn image(&self, path: &str) -> String {
        let deployment = self.api.object(path).unwrap();
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn objects_are_applied_in_order_edges_before_origins() {
    let fixture = ReconcilerFixture::new(json!({}));
    assert_eq!(
        fixture.reconcile().await,
        Action::requeue(PROGRESSING_INTERVAL)
    );
    assert_eq!(
        fixture.api.writes(),
        [
            "PATCH serviceaccounts/demo-media-node",
            "PATCH configmaps/demo-identity",
            "PATCH configmaps/demo-live",
            &format!("PATCH {}", fixture.config_path(EDGE)),
            &format!("PATCH {}", fixture.config_path(ORIGIN)),
            "PATCH services/demo-edge",
            "PATCH services/demo-origin",
            "PATCH services/demo-origin-headless",
            "PATCH networkpolicies/demo-nodes",
            "PATCH poddisruptionbudgets/demo-edge",
            "PATCH poddisruptionbudgets/demo-origin",
            "PATCH deployments/demo-edge",
            "PATCH deployments/demo-origin",
            "PATCH deployments/demo-edge/scale",
            "PATCH liveclusters/demo/status",
        ]
    );
    assert_eq!(fixture.api.object(EDGE).unwrap()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn every_apply_is_strict_and_forced_with_one_field_manager_and_without_replicas() {
    let fixture = ReconcilerFixture::new(json!({"edges": {"replicas": 5}}));
    fixture.reconcile().await;
    let requests = fixture.api.requests();
    let patches: Vec<_> = requests
        .iter()
        .filter(|request| request.method == Method::PATCH && !request.path.ends_with("/scale"))
        .collect();
    assert_eq!(patches.len(), 14);
    for request in patches {
        for part in [
            "force=true",
            "fieldValidation=Strict",
            "fieldManager=livecluster-operator",
        ] {
            assert!(
                request.query.split('&').any(|pair| pair == part),
                "{request:?}"
            );
        }
        assert!(
            request.body["spec"].get("replicas").is_none(),
            "{request:?}"
        );
        let metadata = &request.body["metadata"];
        assert!(metadata.get("managedFields").is_none(), "{request:?}");
        // A status is that of one version.
        let is_status = request.path.ends_with("/status");
        let has_version = metadata.get("resourceVersion").is_some();
        assert_eq!(has_version, is_status, "{request:?}");
    }
    let scale = requests
        .iter()
        .find(|request| request.path.ends_with("/scale"))
        .unwrap();
    assert!(
        scale
            .query
            .contains("fieldManager=livecluster-operator-scale")
    );
    assert_eq!(scale.body, json!({"spec": {"replicas": 5}}));
}

#[tokio::test]
async fn unchanged_cluster_causes_no_writes() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    assert_eq!(
        fixture.condition("Ready"),
        "True Available: 1 of 1 origin available; 2 of 2 edges available"
    );
    let action = fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
    let wait = SETTLED_INTERVAL + jitter("demo-uid");
    assert_eq!(action, Action::requeue(wait));
}

#[tokio::test]
async fn cluster_that_cannot_settle_is_reconciled_once_a_minute() {
    let fixture = ReconcilerFixture::new(json!({}));
    for seconds in [10, 20, 40, 60, 60] {
        let wait = Duration::from_secs(seconds);
        assert_eq!(fixture.reconcile().await, Action::requeue(wait));
    }
    fixture.settle_one(EDGE);
    assert_eq!(
        fixture.reconcile().await,
        Action::requeue(PROGRESSING_INTERVAL)
    );
    fixture.settle();
    let wait = SETTLED_INTERVAL + jitter("demo-uid");
    assert_eq!(fixture.reconcile().await, Action::requeue(wait));
}

#[tokio::test]
async fn restarted_operator_applies_each_object_once_and_changes_none() {
    let mut fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.reconciler.cache = ApplyCache::default();
    let before = fixture
        .api
        .paths()
        .into_iter()
        .map(|path| fixture.api.object(&path));
    let before: Vec<_> = before.collect();
    fixture.reconcile().await;
    let after = fixture
        .api
        .paths()
        .into_iter()
        .map(|path| fixture.api.object(&path));
    assert_eq!(before, after.collect::<Vec<_>>());
    assert_eq!(fixture.api.writes().len(), 13);
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn manual_edit_of_an_applied_field_is_reverted_and_of_another_is_kept() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.api.edit("services/demo-edge", |service| {
        service["spec"]["ports"][0]["port"] = 1.into();
        service["metadata"]["labels"]["theirs"] = "x".into();
    });
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), ["PATCH services/demo-edge"]);
    let service = fixture.api.object("services/demo-edge").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1935);
    assert_eq!(service["metadata"]["labels"]["theirs"], "x");
    fixture.api.edit("services/demo-edge", |service| {
        service["metadata"]["labels"]["theirs"] = "y".into();
    });
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn removed_label_is_restored() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let path = "services/demo-edge";
    fixture.api.edit(path, |service| {
        service["metadata"]["labels"] = json!({});
    });
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), [format!("PATCH {path}")]);
}

#[tokio::test]
async fn replicas_are_set_where_they_differ() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| spec["edges"] = json!({"replicas": 3}));
    fixture.reconcile().await;
    let writes = fixture.api.writes();
    assert_eq!(
        writes[..2],
        [
            "PATCH deployments/demo-edge/scale",
            "PATCH liveclusters/demo/status"
        ]
    );
    assert_eq!(
        fixture.condition("Progressing"),
        "True ScalingEdges: 2 of 3 edges exist"
    );
    assert_eq!(
        fixture.condition("Ready"),
        "True Available: 1 of 1 origin available; 2 of 3 edges available"
    );
}

#[tokio::test]
async fn of_a_paused_cluster_only_the_status_is_written() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| {
        spec["paused"] = true.into();
        spec["image"] = "media-node:2".into();
    });
    fixture.reconcile().await;
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert!(fixture.condition("Progressing").starts_with("False Paused"));
    let cluster = fixture.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["image"], "media-node:1");
    assert_eq!(cluster["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn cluster_that_is_not_to_be_ready_is_stopped_in_the_metrics() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let value = |series: &str| {
        let metrics = fixture.reconciler.metrics.render().unwrap();
        let line = format!("{series}{{name=\"demo\",namespace=\"media\"}}");
        let mut lines = metrics.lines();
        let value = lines.find_map(|found| found.strip_prefix(&line)?.strip_prefix(' '));
        value.unwrap().to_owned()
    };
    let metrics = || [value("live_cluster_ready"), value("live_cluster_stopped")];
    assert_eq!(metrics(), ["1", "0"]);
    fixture.edit_spec(|spec| spec["origins"] = json!({"replicas": 0}));
    fixture.reconcile().await;
    assert_eq!(metrics(), ["0", "1"]);
    fixture.edit_spec(|spec| spec["origins"] = json!({"replicas": 1}));
    fixture.reconcile().await;
    assert_eq!(metrics(), ["1", "0"]);
    fixture.api.edit(CLUSTER, |cluster| {
        cluster["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
    });
    fixture.reconcile().await;
    assert_eq!(metrics(), ["0", "1"]);
}
