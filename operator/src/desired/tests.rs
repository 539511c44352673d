//! The objects of clusters, as values and as snapshots.

use k8s_openapi::api::apps::v1::Deployment;
use livecluster_api::{LiveClusterSpec, names};
use serde_json::{Value, json};

use super::metrics_clients::MetricsClients;
use super::*;

/// Keys of the API server.
const KEYS: &str = r#"{"keys":[]}"#;

fn cluster(spec: Value) -> LiveCluster {
    let spec: LiveClusterSpec = serde_json::from_value(spec).unwrap();
    let mut cluster = LiveCluster::new("demo", spec);
    cluster.metadata.namespace = Some("media".to_owned());
    cluster.metadata.uid = Some("cluster-uid".to_owned());
    cluster
}

fn defaults() -> Defaults {
    Defaults {
        image: "livecluster.dev/media-node:0.1.0".to_owned(),
        roll_image: false,
        metrics_clients: MetricsClients::default(),
        operator_namespace: Some("livecluster-system".to_owned()),
        operator_account: Some("livecluster".to_owned()),
    }
}

fn make(spec: Value) -> Desired {
    desired(
        &cluster(spec),
        &defaults(),
        &[],
        KEYS,
        &ServedGatewayApi::default(),
    )
    .unwrap()
}

fn child<'a>(desired: &'a Desired, kind: ChildKind, name: &str) -> &'a Value {
    let found = desired
        .children
        .iter()
        .find(|child| child.kind == kind && child.name() == name);
    &found.unwrap().document
}

fn yaml(desired: &Desired) -> String {
    desired
        .children
        .iter()
        .map(|child| serde_yaml::to_string(child).unwrap())
        .collect::<Vec<_>>()
        .join("---\n")
}

/// Returns a Deployment as the API server stores it.
fn live(desired: &Desired, name: &str) -> Deployment {
    serde_json::from_value(child(desired, ChildKind::Deployment, name).clone()).unwrap()
}

#[test]
fn an_empty_spec() {
    insta::assert_snapshot!(yaml(&make(json!({}))));
}

#[test]
fn a_spec_that_uses_everything() {
    let role = json!({
        "replicas": 3,
        "drainTimeoutSeconds": 3600,
        "service": {
            "type": "LoadBalancer",
            "ports": {"rtmp": 11935, "http": 80},
            "nodePorts": {"http": 30880},
            "annotations": {"example.com/drain": "3600"},
            "labels": {"team": "video"},
            "loadBalancerClass": "example.com/lb",
            "loadBalancerSourceRanges": ["203.0.113.0/24"],
            "externalTrafficPolicy": "Local",
            "externalHostname": "live.example.com"
        },
        "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 1},
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "nodeSelector": {"disk": "none"},
        "tolerations": [{"key": "live", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "high",
        "serviceAccountName": "mine",
        "podLabels": {"app.kubernetes.io/name": "not-this", "team": "video"},
        "podAnnotations": {"note": "hello"},
        "podDisruptionBudget": {"maxUnavailable": 2},
        "podTemplate": {
            "metadata": {"labels": {"app.kubernetes.io/component": "not-this"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {"name": "media-node", "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 1}]},
                    {"name": "sidecar", "image": "example.com/sidecar:1"}
                ]
            }
        }
    });
    insta::assert_snapshot!(yaml(&make(json!({
        "image": "example.com/media-node:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "origins": role,
        "edges": role,
        "networkPolicy": {"internalFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
        "stream": {"lingerSeconds": 3},
        "limits": {"maxConnections": 1000},
        "vhosts": ["a.example"],
        "tls": {"secretName": "certificate"},
        "logs": {"format": "json", "level": "debug"}
    }))));
}

#[test]
fn pod_on_a_lost_node_is_replaced_soon_unless_the_spec_decides_otherwise() {
    let tolerations = |edges: Value| {
        let desired = make(json!({"edges": edges}));
        let edge = child(&desired, ChildKind::Deployment, "demo-edge");
        let tolerations = edge["spec"]["template"]["spec"]["tolerations"].as_array();
        let text = |toleration: &Value| {
            let key = toleration["key"].as_str().unwrap_or("every key");
            format!("{key} {}", toleration["tolerationSeconds"])
        };
        tolerations.unwrap().iter().map(text).collect::<Vec<_>>()
    };
    let (not_ready, unreachable) = (
        "node.kubernetes.io/not-ready 30",
        "node.kubernetes.io/unreachable 30",
    );
    assert_eq!(tolerations(json!({})), [not_ready, unreachable]);
    let own = json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300});
    let expected = ["node.kubernetes.io/unreachable 300", not_ready];
    assert_eq!(tolerations(json!({"tolerations": [own]})), expected);
    let template = json!({"spec": {"tolerations": [own]}});
    assert_eq!(tolerations(json!({"podTemplate": template})), expected);
    let all = json!([{"operator": "Exists"}]);
    assert_eq!(tolerations(json!({"tolerations": all})), ["every key null"]);
    let start = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}]);
    let expected = ["node.kubernetes.io/not-ready null", not_ready, unreachable];
    assert_eq!(tolerations(json!({"tolerations": start})), expected);
}

#[test]
fn required_tls_leaves_only_the_ports_with_it() {
    let desired = make(json!({"tls": {"secretName": "certificate", "required": true}}));
    let names = |ports: &Value| -> Vec<String> {
        let ports = ports.as_array().unwrap().iter();
        let name = |port: &Value| port.get("name").unwrap_or(&port["port"]).clone();
        ports
            .map(|port| name(port).as_str().unwrap().to_owned())
            .collect()
    };
    let service = child(&desired, ChildKind::Service, "demo-edge");
    assert_eq!(names(&service["spec"]["ports"]), ["rtmps", "https"]);
    assert_eq!(service["spec"]["ports"][1]["port"], 8443);
    let pod = &child(&desired, ChildKind::Deployment, "demo-origin")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        names(&container["ports"]),
        ["rtmps", "https", "internal", "metrics"]
    );
    let policy = child(&desired, ChildKind::NetworkPolicy, "demo-nodes");
    assert_eq!(
        names(&policy["spec"]["ingress"][0]["ports"]),
        ["rtmps", "https"]
    );
}

#[test]
fn prometheus_reaches_the_metrics_and_nothing_else() {
    let mut defaults = defaults();
    let from = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]);
    defaults.metrics_clients = from.to_string().parse().unwrap();
    let desired = desired(
        &cluster(json!({})),
        &defaults,
        &[],
        KEYS,
        &ServedGatewayApi::default(),
    )
    .unwrap();
    let policy = child(&desired, ChildKind::NetworkPolicy, "demo-nodes");
    let ingress = &policy["spec"]["ingress"];
    assert_eq!(ingress[2]["from"], from);
    assert_eq!(
        ingress[2]["ports"],
        json!([{"port": "metrics", "protocol": "TCP"}])
    );
    assert!(!ingress[1].to_string().contains("monitoring"), "{ingress}");

    let rules = make(json!({}));
    let rules = &child(&rules, ChildKind::NetworkPolicy, "demo-nodes")["spec"]["ingress"];
    assert_eq!(rules.as_array().unwrap().len(), 2);
    for (text, error) in [
        (
            r#"[{"namespaceSelectors": {}}]"#,
            "unknown field [0].namespaceSelectors",
        ),
        (r#"{"podSelector": {}}"#, "invalid type: map"),
        ("monitoring", "expected value"),
    ] {
        let refused = text.parse::<MetricsClients>().unwrap_err();
        assert!(refused.contains(error), "{refused}");
    }
}

#[test]
fn equal_input_gives_equal_bytes() {
    assert_eq!(yaml(&make(json!({}))), yaml(&make(json!({}))));
}

#[test]
fn no_document_contains_replicas() {
    for child in make(json!({"edges": {"replicas": 7}})).children {
        assert!(child.document["spec"].get("replicas").is_none());
    }
}

#[test]
fn every_object_is_owned_by_its_cluster() {
    for child in make(json!({})).children {
        let owner = &child.document["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], "cluster-uid");
        assert_eq!(owner["controller"], true);
        assert_eq!(owner["blockOwnerDeletion"], true);
        assert_ne!(child.name(), "demo");
        assert_eq!(child.document["metadata"]["namespace"], "media");
    }
}

#[test]
fn disabled_objects_are_not_desired() {
    let desired = make(json!({
        "networkPolicy": {"enabled": false},
        "origins": {"podDisruptionBudget": {"enabled": false}, "serviceAccountName": "a"},
        "edges": {"podDisruptionBudget": {"enabled": false}, "serviceAccountName": "b"}
    }));
    let kinds: Vec<_> = desired.children.iter().map(|child| child.kind).collect();
    for kind in [
        ChildKind::NetworkPolicy,
        ChildKind::PodDisruptionBudget,
        ChildKind::ServiceAccount,
    ] {
        assert!(!kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn explicit_default_restarts_no_pod() {
    let plain = make(json!({}));
    let explicit = make(json!({"stream": {"lingerSeconds": 10}, "logs": {"level": "info"}}));
    assert_eq!(plain, explicit);
}

#[test]
fn setting_of_one_role_does_not_roll_the_other() {
    let [origins, edges] = template_hashes(json!({}));
    let after = template_hashes(json!({"edges": {"drainTimeoutSeconds": 60}}));
    assert_eq!(origins, after[0]);
    assert_ne!(edges, after[1]);
}

/// Returns the hash of the Pod template of the origins, and that of the edges.
fn template_hashes(spec: Value) -> [String; 2] {
    let desired = make(spec);
    ["demo-origin", "demo-edge"].map(|name| {
        let deployment = child(&desired, ChildKind::Deployment, name);
        let hash = &deployment["metadata"]["annotations"][names::TEMPLATE_HASH];
        hash.as_str().unwrap().to_owned()
    })
}

/// The description of `spec.origins` and `spec.edges` names those that do not.
#[test]
fn fields_of_a_role_trigger_a_rolling_update_unless_they_are_not_part_of_its_pods() {
    let plain = template_hashes(json!({}));
    for field in [
        json!({"replicas": 5}),
        json!({"retireTimeoutSeconds": 5}),
        json!({"autoscaling": {"maxReplicas": 9, "targetViewers": 5}}),
        json!({"service": {"type": "NodePort", "ports": {"http": 80}, "externalHostname": "live.example"}}),
        json!({"rollingUpdate": {"maxSurge": 1}}),
        json!({"podDisruptionBudget": {"enabled": false}}),
    ] {
        assert_eq!(template_hashes(json!({"edges": field})), plain, "{field}");
    }
    let selector = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]}});
    for field in [
        json!({"drainTimeoutSeconds": 60}),
        json!({"resources": {"limits": {"memory": "1Gi"}}}),
        json!({"nodeSelector": {"disk": "none"}}),
        json!({"tolerations": [{"key": "live", "operator": "Exists"}]}),
        json!({ "affinity": selector }),
        json!({"topologySpreadConstraints": []}),
        json!({"priorityClassName": "high"}),
        json!({"serviceAccountName": "mine"}),
        json!({"podLabels": {"team": "video"}}),
        json!({"podAnnotations": {"note": "hello"}}),
        json!({"podTemplate": {"spec": {"hostNetwork": true}}}),
    ] {
        let edges = &template_hashes(json!({"edges": field}))[1];
        assert_ne!(*edges, plain[1], "{field}");
    }
}

#[test]
fn stream_setting_rolls_both_roles() {
    let configured = make(json!({"stream": {"windowSeconds": 20}}));
    let plain = make(json!({}));
    for name in ["demo-edge", "demo-origin"] {
        assert_ne!(
            child(&plain, ChildKind::Deployment, name)["metadata"]["annotations"],
            child(&configured, ChildKind::Deployment, name)["metadata"]["annotations"],
        );
    }
}

#[test]
fn running_cluster_keeps_the_default_image_it_was_created_with() {
    let running = [live(&make(json!({})), "demo-edge")];
    let mut newer = defaults();
    newer.image = "livecluster.dev/media-node:0.2.0".to_owned();
    let image = |defaults: &Defaults, live: &[Deployment], spec: Value| {
        desired(
            &cluster(spec),
            defaults,
            live,
            KEYS,
            &ServedGatewayApi::default(),
        )
        .unwrap()
        .image
    };
    assert_eq!(image(&newer, &running, json!({})), defaults().image);
    assert_eq!(image(&newer, &[], json!({})), newer.image);
    newer.roll_image = true;
    assert_eq!(image(&newer, &running, json!({})), newer.image);
    assert_eq!(
        image(&newer, &running, json!({"image": "mine:1"})),
        "mine:1"
    );
}

#[test]
fn image_removed_from_the_spec_is_not_kept() {
    let running = [live(&make(json!({"image": "mine:1"})), "demo-edge")];
    let image = desired(
        &cluster(json!({})),
        &defaults(),
        &running,
        KEYS,
        &ServedGatewayApi::default(),
    )
    .unwrap()
    .image;
    assert_eq!(image, defaults().image);
}

#[test]
fn misspelt_field_of_a_raw_part_is_named() {
    let refused = desired(
        &cluster(json!({"edges": {"podTemplate": {"spec": {"contianers": []}}}})),
        &defaults(),
        &[],
        KEYS,
        &ServedGatewayApi::default(),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "spec.edges.podTemplate: unknown field spec.contianers"
    );
}
