//! Passes over a cluster, against a scripted API.

use http::Method;
use kube::runtime::events::Reporter;
use serde_json::Value;

use super::*;
use crate::k8s::fake_api::FakeApi;

mod owners;
mod refusals;

const CLUSTER: &str = "liveclusters/demo";
const EDGE: &str = "deployments/demo-edge";
const ORIGIN: &str = "deployments/demo-origin";

struct Scene {
    api: FakeApi,
    operator: Operator,
}

impl Scene {
    /// An operator and a cluster with this spec.
    fn new(spec: Value) -> Self {
        let (client, api) = FakeApi::start();
        let metrics = Metrics::new().unwrap();
        let calls = Calls::new(metrics.clone());
        let reporter = Reporter {
            controller: "livecluster-operator".to_owned(),
            instance: Some("test".to_owned()),
        };
        let operator = Operator {
            client: client.clone(),
            calls: calls.clone(),
            publisher: Publisher::new(client, calls, reporter),
            defaults: Defaults {
                image: "media-node:1".to_owned(),
                ..Defaults::default()
            },
            check_secrets: true,
            memory: Memory::default(),
            streams: Streams::default(),
            metrics,
        };
        api.put(
            CLUSTER,
            json!({
                "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
                "metadata": {"name": "demo", "namespace": "media", "uid": "demo-uid", "generation": 1},
                "spec": spec
            }),
        );
        Self { api, operator }
    }

    async fn try_pass(&self) -> Result<Next, ApplyError> {
        self.operator
            .pass(&livecluster_api::ClusterName::new("media", "demo"))
            .await
    }

    async fn pass(&self) -> Next {
        self.try_pass().await.unwrap()
    }

    /// What the deployment controller does: every node is there, new and ready.
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

    /// A cluster that is as it should be, with an empty list of requests.
    async fn settled(spec: Value) -> Self {
        let scene = Self::new(spec);
        scene.pass().await;
        scene.settle();
        scene.pass().await;
        scene.api.requests();
        scene
    }

    fn spec(&self, edit: impl FnOnce(&mut Value)) {
        self.api.edit(CLUSTER, |object| {
            edit(&mut object["spec"]);
            let generation = object["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = (generation + 1).into();
        });
    }

    /// "False NameConflict: message" of a condition in the status.
    fn says(&self, kind: &str) -> String {
        let cluster = self.api.object(CLUSTER).unwrap();
        let conditions = cluster["status"]["conditions"].as_array().unwrap();
        let found = conditions
            .iter()
            .find(|found| found["type"] == kind)
            .unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("status"), text("reason"), text("message"))
    }

    fn image(&self, path: &str) -> String {
        let deployment = self.api.object(path).unwrap();
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn everything_is_applied_in_order_edges_before_origins() {
    let scene = Scene::new(json!({}));
    assert_eq!(scene.pass().await, Next::After(BUSY));
    assert_eq!(
        scene.api.writes(),
        [
            "PATCH serviceaccounts/demo-media-node",
            "PATCH configmaps/demo-edge-config",
            "PATCH configmaps/demo-origin-config",
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
    assert_eq!(scene.api.object(EDGE).unwrap()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn every_apply_is_strict_forced_by_one_manager_and_says_no_replicas() {
    let scene = Scene::new(json!({"edges": {"replicas": 5}}));
    scene.pass().await;
    let requests = scene.api.requests();
    let patches = requests.iter().filter(|call| call.method == Method::PATCH);
    for call in patches.filter(|call| !call.path.ends_with("/scale")) {
        for part in [
            "force=true",
            "fieldValidation=Strict",
            "fieldManager=livecluster-operator",
        ] {
            assert!(call.query.split('&').any(|pair| pair == part), "{call:?}");
        }
        assert!(call.body["spec"].get("replicas").is_none(), "{call:?}");
        for field in ["managedFields", "resourceVersion"] {
            assert!(call.body["metadata"].get(field).is_none(), "{call:?}");
        }
    }
    let scale = requests
        .iter()
        .find(|call| call.path.ends_with("/scale"))
        .unwrap();
    assert!(
        scale
            .query
            .contains("fieldManager=livecluster-operator-scale")
    );
    assert_eq!(scale.body, json!({"spec": {"replicas": 5}}));
}

#[tokio::test]
async fn a_cluster_that_is_left_alone_causes_no_writes() {
    let scene = Scene::settled(json!({})).await;
    assert_eq!(
        scene.says("Ready"),
        "True Available: 1 origin and 2 edges are available"
    );
    let next = scene.pass().await;
    assert_eq!(scene.api.writes(), Vec::<String>::new());
    assert!(
        matches!(next, Next::After(wait) if wait >= IDLE),
        "{next:?}"
    );
}

#[tokio::test]
async fn after_a_restart_everything_is_applied_once_and_nothing_changes() {
    let mut scene = Scene::settled(json!({})).await;
    scene.operator.memory = Memory::default();
    let before = scene
        .api
        .paths()
        .into_iter()
        .map(|path| scene.api.object(&path));
    let before: Vec<_> = before.collect();
    scene.pass().await;
    let after = scene
        .api
        .paths()
        .into_iter()
        .map(|path| scene.api.object(&path));
    assert_eq!(before, after.collect::<Vec<_>>());
    assert_eq!(scene.api.writes().len(), 11);
    scene.pass().await;
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hand_edit_of_our_field_is_reverted_and_of_another_is_kept() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit("services/demo-edge", |service| {
        service["spec"]["ports"][0]["port"] = 1.into();
        service["metadata"]["labels"]["theirs"] = "x".into();
    });
    scene.pass().await;
    assert_eq!(scene.api.writes(), ["PATCH services/demo-edge"]);
    let service = scene.api.object("services/demo-edge").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1935);
    assert_eq!(service["metadata"]["labels"]["theirs"], "x");
    scene.api.edit("services/demo-edge", |service| {
        service["metadata"]["labels"]["theirs"] = "y".into();
    });
    scene.pass().await;
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_label_that_was_taken_away_comes_back() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit("configmaps/demo-edge-config", |config| {
        config["metadata"]["labels"] = json!({});
    });
    scene.pass().await;
    assert_eq!(scene.api.writes(), ["PATCH configmaps/demo-edge-config"]);
}

#[tokio::test]
async fn the_number_of_nodes_is_set_where_it_is_another() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| spec["edges"] = json!({"replicas": 3}));
    scene.pass().await;
    let writes = scene.api.writes();
    assert_eq!(
        writes[..2],
        [
            "PATCH deployments/demo-edge/scale",
            "PATCH liveclusters/demo/status"
        ]
    );
    assert_eq!(
        scene.says("Progressing"),
        "True ScalingEdges: 2 of 3 edges exist"
    );
    assert!(scene.says("Ready").starts_with("False EdgesUnavailable"));
}

#[tokio::test]
async fn origins_roll_when_the_edges_have_rolled() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| spec["image"] = "media-node:2".into());
    scene.pass().await;
    assert_eq!(
        scene.api.writes(),
        [
            "PATCH deployments/demo-edge",
            "PATCH liveclusters/demo/status",
            "POST events"
        ]
    );
    assert!(scene.says("Progressing").starts_with("True RollingEdges"));
    assert!(scene.says("Ready").starts_with("True"));
    assert_eq!(scene.image(ORIGIN), "media-node:1");
    scene.settle_one(EDGE);
    scene.pass().await;
    assert_eq!(scene.image(ORIGIN), "media-node:2");
    assert!(scene.says("Progressing").starts_with("True RollingOrigins"));
    scene.settle_one(ORIGIN);
    scene.pass().await;
    assert!(
        scene
            .says("Progressing")
            .starts_with("False RolloutComplete")
    );
}

#[tokio::test]
async fn a_new_file_of_the_origins_waits_like_their_template() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| spec["stream"] = json!({"lingerSeconds": 3}));
    scene.pass().await;
    let config = |name: &str| scene.api.object(name).unwrap()["data"]["config.yaml"].to_string();
    assert!(config("configmaps/demo-edge-config").contains("lingerSeconds"));
    assert!(!config("configmaps/demo-origin-config").contains("lingerSeconds"));
    scene.settle_one(EDGE);
    scene.pass().await;
    assert!(config("configmaps/demo-origin-config").contains("lingerSeconds"));
}

#[tokio::test]
async fn a_paused_cluster_gets_a_status_and_nothing_else() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| {
        spec["paused"] = true.into();
        spec["image"] = "media-node:2".into();
    });
    scene.pass().await;
    assert_eq!(
        scene.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert!(scene.says("Progressing").starts_with("False Paused"));
    let cluster = scene.api.object(CLUSTER).unwrap();
    assert_eq!(cluster["status"]["image"], "media-node:1");
    assert_eq!(cluster["status"]["observedGeneration"], 2);
}
