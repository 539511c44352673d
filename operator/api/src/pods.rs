//! Settings of the origin Pods and the edge Pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::autoscaling::Autoscaling;
use crate::kubernetes::{Quantity, Toleration};
use crate::rolling_update::RollingUpdate;
use crate::rule::Rule;
use crate::schema::{annotations, labels, quantities, raw_list, raw_object};
use crate::service::ServiceSettings;

/// Pods that hold the published streams.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Origins {
    /// Desired number of origin Pods. 0 stops them.
    #[schemars(range(max = 64))]
    pub replicas: u16,
    /// Settings that both roles have.
    #[serde(flatten)]
    pub pods: PodSettings,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            replicas: 1,
            pods: PodSettings::default(),
        }
    }
}

/// Pods that serve viewers.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = EDGE_RULES))]
pub struct Edges {
    /// Desired number of edge Pods, which `kubectl scale` and autoscalers change. 0 stops them. Leave it out with
    /// `autoscaling`.
    #[schemars(range(max = 1000))]
    pub replicas: u16,
    /// Seconds that an edge Pod keeps its clients when fewer edges are wanted. It takes no new ones, and is removed when its
    /// last client has disconnected. After this time it drains like any terminating Pod.
    #[schemars(range(max = 604_800))]
    pub retire_timeout_seconds: u32,
    /// Autoscaling by the operator, instead of `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Settings that both roles have.
    #[serde(flatten)]
    pub pods: PodSettings,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            replicas: DEFAULT_EDGES,
            retire_timeout_seconds: 3600,
            autoscaling: None,
            pods: PodSettings::default(),
        }
    }
}

/// Edge Pods of a spec without their number.
const DEFAULT_EDGES: u16 = 2;

/// Rule of the edges. An absent number has its default: `kubectl scale` needs one.
pub(crate) const EDGE_RULES: [Rule<Edges>; 1] = [Rule {
    rule: "!has(self.autoscaling) || self.replicas == 2",
    message: "replicas must be absent with autoscaling, which chooses the number of edge Pods",
    holds: Some(|edges| edges.autoscaling.is_none() || edges.replicas == DEFAULT_EDGES),
}];

/// Settings of the Pods of one role.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSettings {
    /// Seconds that a terminating Pod keeps serving the clients that it has. It exits earlier when the last client has
    /// disconnected. Changing it triggers a rolling update.
    #[schemars(range(max = 86_400))]
    pub drain_timeout_seconds: u32,
    /// Service of the Pods.
    pub service: ServiceSettings,
    /// Pods that a rollout replaces at a time.
    pub rolling_update: RollingUpdate,
    /// Compute resources of each Pod. Changing them triggers a rolling update.
    pub resources: Resources,
    /// Node labels the Pods must match.
    #[schemars(schema_with = "labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Node taints the Pods tolerate. Unless one of them is about the taints `node.kubernetes.io/unreachable` and
    /// `node.kubernetes.io/not-ready`, a Pod is replaced 30 seconds after its node has got them, instead of Kubernetes' 300.
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Scheduling constraints, as in a Pod's `spec.affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_object")]
    pub affinity: Option<Map<String, Value>>,
    /// How the Pods are spread over nodes and zones, as in a Pod's `spec.topologySpreadConstraints`. When absent, evenly
    /// where the nodes have room; an empty list does not spread them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_list")]
    pub topology_spread_constraints: Option<Vec<Map<String, Value>>>,
    /// PriorityClass of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// ServiceAccount of the Pods, instead of the one that the operator creates. Its only token is for other Pods of the
    /// LiveCluster: the API server does not accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Additional labels of the Pods.
    #[schemars(schema_with = "labels")]
    pub pod_labels: BTreeMap<String, String>,
    /// Additional annotations of the Pods.
    #[schemars(schema_with = "annotations")]
    pub pod_annotations: BTreeMap<String, String>,
    /// PodDisruptionBudget of the Pods.
    pub pod_disruption_budget: DisruptionBudget,
    /// PodTemplateSpec that is merged into the operator's own, for settings that have no other field. Lists whose items
    /// have names are merged by name (the media node's container is `media-node`); everything else is replaced. The
    /// selector's labels, the media node's ports and the termination grace period cannot be changed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_object")]
    pub pod_template: Option<Map<String, Value>>,
}

impl Default for PodSettings {
    fn default() -> Self {
        Self {
            drain_timeout_seconds: 300,
            service: ServiceSettings::default(),
            rolling_update: RollingUpdate::default(),
            resources: Resources::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: None,
            priority_class_name: None,
            service_account_name: None,
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            pod_disruption_budget: DisruptionBudget::default(),
            pod_template: None,
        }
    }
}

/// Compute resources of each Pod.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// Resources that are reserved for each Pod, for example `{cpu: 500m, memory: 256Mi}`. The default keeps the Pods from being
    /// the first ones that a node evicts; a Pod with many viewers needs more.
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// Maximum resources of each Pod. Streams stutter in a Pod that reaches its CPU limit.
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Default for Resources {
    fn default() -> Self {
        let requests = [("cpu", "100m"), ("memory", "64Mi")];
        let requests =
            requests.map(|(resource, amount)| (resource.to_owned(), Quantity(amount.to_owned())));
        Self {
            requests: requests.into(),
            limits: BTreeMap::new(),
        }
    }
}

/// PodDisruptionBudget of the Pods.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// Whether a PodDisruptionBudget exists.
    pub enabled: bool,
    /// Pods that may be unavailable during voluntary disruptions.
    #[schemars(range(min = 1, max = 1000))]
    pub max_unavailable: u16,
}

impl Default for DisruptionBudget {
    fn default() -> Self {
        Self {
            enabled: true,
            max_unavailable: 1,
        }
    }
}
