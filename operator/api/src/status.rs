//! What the operator says about a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::conditions;

/// What the cluster is now.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LiveClusterStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The nodes' image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The origins.
    pub origins: RoleStatus,
    /// The edges.
    pub edges: RoleStatus,
    /// What is published and watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamsStatus>,
    /// Where the cluster is reached.
    pub endpoints: Endpoints,
    /// `Ready`, `OriginsAvailable`, `EdgesAvailable`, `Progressing` and `ReferencesResolved`.
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// The nodes of one role.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleStatus {
    /// Nodes that exist and are not leaving.
    pub replicas: i32,
    /// Nodes that are ready.
    pub ready_replicas: i32,
    /// Nodes of the newest template.
    pub updated_replicas: i32,
    /// Nodes that are leaving: they serve the clients they have until those are gone or the drain time is over.
    pub terminating_replicas: i32,
    /// Label selector of the nodes' Pods, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// What is published and watched, as the nodes say.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamsStatus {
    /// Streams that are published now, to two digits; unknown while no origin answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<i64>,
    /// Viewers on all nodes, to two digits; unknown while no node answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers: Option<i64>,
    /// Nodes that answered.
    pub scraped_pods: i32,
    /// Nodes that were asked.
    pub expected_pods: i32,
}

/// Where the cluster is reached. `{stream}` stands for a stream's name.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoints {
    /// Where encoders publish.
    pub publish: Vec<Endpoint>,
    /// Where viewers watch.
    pub play: Vec<Endpoint>,
}

/// One way to reach the cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// The role and the protocol, such as `edge-http-flv`.
    pub name: String,
    /// The address. `<machine>` stands for any machine of the Kubernetes cluster.
    pub url: String,
}
