//! What is said about origins and about edges.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::definition::{annotations, labels, quantities, raw_list, raw_object};
use crate::service::ServiceSettings;

/// The nodes that keep published streams.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Origins {
    /// How many origins there are. 0 stops them.
    #[schemars(range(max = 64))]
    pub replicas: u16,
    /// What origins and edges have in common.
    #[serde(flatten)]
    pub nodes: Nodes,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            replicas: 1,
            nodes: Nodes::default(),
        }
    }
}

/// The nodes that viewers are served by.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Edges {
    /// How many edges there are; `kubectl scale` changes this number. 0 stops them.
    #[schemars(range(max = 1000))]
    pub replicas: u16,
    /// What origins and edges have in common.
    #[serde(flatten)]
    pub nodes: Nodes,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            replicas: 2,
            nodes: Nodes::default(),
        }
    }
}

/// What origins and edges have in common.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Nodes {
    /// Seconds that a node goes on serving after it was asked to leave, until the last client is gone or this time is
    /// over. A change rolls the nodes.
    #[schemars(range(max = 86_400))]
    pub drain_timeout_seconds: u32,
    /// How the nodes are reached.
    pub service: ServiceSettings,
    /// What a node asks for and what it gets at most. A change rolls the nodes.
    pub resources: Resources,
    /// Labels of the machines that may run a node.
    #[schemars(schema_with = "labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of machines that a node tolerates.
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Where nodes are wanted, as in a Pod's `spec.affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_object")]
    pub affinity: Option<Map<String, Value>>,
    /// How nodes are spread, as in a Pod's `spec.topologySpreadConstraints`. When absent, over machines and zones as
    /// evenly as there is room; an empty list spreads nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_list")]
    pub topology_spread_constraints: Option<Vec<Map<String, Value>>>,
    /// The Pods' PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// The Pods' ServiceAccount instead of the one that the operator makes. Nodes never get its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// More labels for the Pods.
    #[schemars(schema_with = "labels")]
    pub pod_labels: BTreeMap<String, String>,
    /// More annotations for the Pods.
    #[schemars(schema_with = "annotations")]
    pub pod_annotations: BTreeMap<String, String>,
    /// How many nodes may be taken away at one time when machines are drained.
    pub pod_disruption_budget: DisruptionBudget,
    /// A PodTemplateSpec that is laid over the operator's own, for what no other field says: lists with names are
    /// merged by name (the node's container is `media-node`), anything else is replaced. The selector's labels, the
    /// node's ports and the termination grace period cannot be changed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "raw_object")]
    pub pod_template: Option<Map<String, Value>>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            drain_timeout_seconds: 300,
            service: ServiceSettings::default(),
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

/// What a node asks for and what it gets at most.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for a node, for example `{cpu: 500m, memory: 256Mi}`.
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What a node gets at most. A CPU limit makes streams stutter where it bites.
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// How many nodes may be taken away at one time when machines are drained.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// Whether there is a PodDisruptionBudget.
    pub enabled: bool,
    /// Nodes that may be away at one time.
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
