//! Passes over a cluster, against a scripted API.

use http::Method;
use kube::runtime::events::Reporter;
use serde_json::Value;

use super::*;
use crate::fake_api::FakeApi;

const CLUSTER: &str = "liveclusters/demo";
const EDGE: &str = "deployments/demo-edge";
const ORIGIN: &str = "deployments/demo-origin";

struct Scene {
    api: FakeApi,
    operator: Operator,
    recorder: Recorder,
}

impl Scene {
    /// An operator and a cluster with this spec.
    fn new(spec: Value) -> Self {
        let (client, api) = FakeApi::start();
        let metrics = Metrics::new().unwrap();
        let operator = Operator {
            client: client.clone(),
            calls: Calls::new(metrics.clone()),
            defaults: Defaults {
                image: "media-node:1".to_owned(),
                ..Defaults::default()
            },
            check_secrets: true,
            memory: Memory::default(),
            streams: Streams::default(),
            metrics,
        };
        let reporter = Reporter {
            controller: "livecluster-operator".to_owned(),
            instance: Some("test".to_owned()),
        };
        api.put(
            CLUSTER,
            json!({
                "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
                "metadata": {"name": "demo", "namespace": "media", "uid": "demo-uid", "generation": 1},
                "spec": spec
            }),
        );
        Self {
            api,
            operator,
            recorder: Recorder::new(client, reporter),
        }
    }

    async fn try_pass(&self) -> Result<Next, ApplyError> {
        self.operator.pass("media", "demo", &self.recorder).await
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
async fn somebody_elses_deployment_is_left_alone() {
    let scene = Scene::new(json!({}));
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo-edge"}, "spec": {}});
    scene.api.put(EDGE, theirs);
    let before = scene.api.object(EDGE);
    assert_eq!(scene.pass().await, Next::After(WAITING));
    assert_eq!(scene.api.object(EDGE), before);
    let writes = scene.api.writes();
    assert!(
        !writes.iter().any(|write| write.contains(EDGE)),
        "{writes:?}"
    );
    assert!(writes.contains(&format!("PATCH {ORIGIN}")));
    assert!(
        scene
            .says("Ready")
            .starts_with("False NameConflict: Deployment demo-edge")
    );
}

#[tokio::test]
async fn what_a_deleted_namesake_left_is_waited_for() {
    let scene = Scene::new(json!({}));
    let owner = json!({
        "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster",
        "name": "demo", "uid": "another-uid", "controller": true
    });
    scene.api.put(
        "serviceaccounts/demo-media-node",
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "demo-media-node", "ownerReferences": [owner]}}),
    );
    let error = scene.try_pass().await.unwrap_err();
    assert!(matches!(error, ApplyError::LeftOver { .. }), "{error}");
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_orphan_that_we_applied_is_taken_back() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit(EDGE, |object| {
        object["metadata"]["ownerReferences"] = json!([]);
    });
    scene.pass().await;
    assert!(scene.api.writes().contains(&format!("PATCH {EDGE}")));
    assert!(scene.says("Ready").starts_with("True"));
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_deleted_by_its_uid() {
    let scene = Scene::settled(json!({})).await;
    let path = "poddisruptionbudgets/demo-edge";
    let uid = scene.api.object(path).unwrap()["metadata"]["uid"].clone();
    // With our labels, but not ours.
    let labels = scene.api.object(path).unwrap()["metadata"]["labels"].clone();
    let theirs = json!({"metadata": {"name": "theirs", "labels": labels}});
    scene.api.put("poddisruptionbudgets/theirs", theirs);
    scene.spec(|spec| spec["edges"] = json!({"podDisruptionBudget": {"enabled": false}}));
    scene.pass().await;
    let requests = scene.api.requests();
    let deletes: Vec<_> = requests
        .iter()
        .filter(|call| call.method == Method::DELETE)
        .collect();
    assert_eq!(deletes.len(), 1, "{deletes:?}");
    assert_eq!(deletes[0].path, path);
    assert_eq!(deletes[0].body["preconditions"]["uid"], uid);
}

#[tokio::test]
async fn a_forbidden_apply_is_shown_and_does_not_stop_the_others() {
    let scene = Scene::new(json!({}));
    scene.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        403,
        "Forbidden",
        "you may not",
    );
    assert_eq!(scene.pass().await, Next::After(REFUSED));
    assert!(scene.api.object(ORIGIN).is_some());
    assert_eq!(
        scene.says("Ready"),
        "False Forbidden: Service demo-edge: you may not"
    );
    scene.api.relent();
    scene.pass().await;
    assert!(scene.api.object("services/demo-edge").is_some());
}

#[tokio::test]
async fn what_the_api_finds_invalid_is_shown_with_its_words() {
    let scene = Scene::settled(json!({})).await;
    scene.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        422,
        "Invalid",
        "nodePort: provided port is already allocated",
    );
    scene.spec(|spec| {
        spec["edges"] = json!({"service": {"type": "NodePort", "nodePorts": {"http": 30880}}})
    });
    scene.pass().await;
    assert_eq!(
        scene.says("Ready"),
        "False InvalidSpec: Service demo-edge: nodePort: provided port is already allocated"
    );
    assert!(scene.says("EdgesAvailable").starts_with("True"));
}

#[tokio::test]
async fn a_conflict_is_worth_another_try() {
    let scene = Scene::new(json!({}));
    scene.api.refuse(
        Method::PATCH,
        EDGE,
        409,
        "Conflict",
        "the object has been modified",
    );
    let error = scene.try_pass().await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Call(call) if call.status().unwrap().is_conflict()),
        "{error}"
    );
}

#[tokio::test]
async fn a_spec_that_makes_no_objects_changes_nothing() {
    let scene = Scene::settled(json!({})).await;
    scene.spec(|spec| spec["edges"] = json!({"podTemplate": {"spce": {}}}));
    scene.pass().await;
    assert_eq!(
        scene.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert_eq!(
        scene.says("Ready"),
        "False InvalidSpec: spec.edges.podTemplate: unknown field spce"
    );
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

#[tokio::test]
async fn a_cluster_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let scene = Scene::settled(json!({})).await;
    scene.api.edit(CLUSTER, |object| {
        object["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
    });
    assert_eq!(scene.pass().await, Next::Never);
    assert_eq!(scene.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_secret_is_noticed_and_its_coming_too() {
    let scene = Scene::settled(json!({"imagePullSecrets": [{"name": "registry"}]})).await;
    assert!(
        scene
            .says("ReferencesResolved")
            .starts_with("False SecretNotFound")
    );
    assert_eq!(scene.pass().await, Next::After(WAITING));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}});
    scene.api.put("secrets/registry", secret);
    scene.pass().await;
    assert!(scene.says("ReferencesResolved").starts_with("True"));
    assert!(scene.says("Ready").starts_with("True"));
}
