//! The status of a LiveCluster, which the operator writes.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Observed state of a LiveCluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(transform = schema::structural)]
pub struct LiveClusterStatus {
    /// Generation of the spec that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Operator that reconciles the LiveCluster. Another one takes over when it has stopped renewing its Lease, or watches other
    /// namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    /// Another operator, which may not read the Lease of the one in `operator`, and asks whether that one still works. It takes over
    /// without an answer within two minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takeover: Option<OperatorName>,
    /// Container image of the Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Origin Pods.
    pub origins: RoleStatus,
    /// Edge Pods.
    pub edges: RoleStatus,
    /// Pods that serve the clients that they have and take no new ones: those that are terminating or retiring.
    pub draining_pods: i32,
    /// Draining Pods that are removed first, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<DrainingPod>,
    /// Streams and viewers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamsStatus>,
    /// Autoscaling of the edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// URLs of the LiveCluster.
    pub endpoints: Endpoints,
    /// Conditions: `Ready`, `Degraded`, `OriginsAvailable`, `EdgesAvailable`, `Progressing`, `ReferencesResolved`,
    /// `MemoryPressure`, `PublishProtected` and `PlayProtected`; with autoscaling `AutoscalingActive`; with announced events
    /// `EventCapacityReady`; with a Gateway `RoutesAccepted`.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// An operator, by the Lease that elects its leader.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorName {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
}

impl fmt::Display for OperatorName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.lease)
    }
}

/// Pods of one role.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleStatus {
    /// Ready and wanted Pods, such as `2/3`.
    pub ready: String,
    /// Pods that are neither terminating nor retiring.
    pub replicas: i32,
    /// Pods that are ready and not retiring.
    pub ready_replicas: i32,
    /// Pods of the current Pod template.
    pub updated_replicas: i32,
    /// Pods that are terminating. They serve the clients that they have until the drain timeout.
    pub terminating_replicas: i32,
    /// Edge Pods that are to be removed when their last client has disconnected.
    pub retiring_replicas: i32,
    /// Wanted Pods when all of them were available for the last time. `Ready` accepts as many less as the disruption budget
    /// allows, so that neither a scale-up nor an eviction ends it.
    pub settled_replicas: i32,
    /// Label selector of the Pods that do not retire, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// Pod that serves the clients that it has and takes no new ones.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DrainingPod {
    /// Name of the Pod.
    pub pod: String,
    /// Node of the Pod.
    pub node: String,
    /// `Terminating` (deleted or evicted) or `Retiring` (one of too many edges).
    pub reason: String,
    /// Its viewers, rounded to two digits. Absent while it does not respond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers: Option<i64>,
    /// When it is removed. When its last client has disconnected before, it is removed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Streams and viewers, as reported by the Pods.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamsStatus {
    /// Streams that are published, rounded to two digits. Absent while no origin Pod responds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<i64>,
    /// Viewers of all Pods, rounded to two digits. Absent while no Pod responds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers: Option<i64>,
    /// Origin Pods whose memory for media is short.
    pub memory_pressure_origins: i32,
    /// Edge Pods whose memory for media is short.
    pub memory_pressure_edges: i32,
    /// Pods that responded.
    pub scraped_pods: i32,
    /// Pods that were queried.
    pub expected_pods: i32,
}

/// Autoscaling of the edges. Another operator that takes over continues from it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// Wanted edge Pods.
    pub desired_replicas: u16,
    /// When the number of wanted Pods decreased last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_down_time: Option<Time>,
    /// Higher numbers that were wanted within the stabilization window.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<RecommendedReplicas>,
    /// Time for which fewer Pods must have been enough, as the load comes back soon after it has fallen. When absent, and for
    /// deeper falls, it is a fifth of `stabilizationWindowSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window: Option<StabilizationWindow>,
}

/// Stabilization window of a load that swings.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StabilizationWindow {
    /// Seconds for which fewer Pods must have been enough.
    pub seconds: u16,
    /// Depth of the falls, in percent of the Pods.
    pub percent: u16,
    /// Until when the window is in force, unless the load swings again.
    pub until: Time,
}

/// A number of edge Pods that was wanted for the load.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecommendedReplicas {
    /// The number.
    pub replicas: u16,
    /// When it was wanted last.
    pub time: Time,
}

/// URLs of a LiveCluster. `{stream}` is a placeholder of a stream's name.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoints {
    /// First URL that encoders publish to: a public one if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_url: Option<String>,
    /// Public URLs that encoders publish to.
    pub publish: Vec<Endpoint>,
    /// Public URLs that viewers play.
    pub play: Vec<Endpoint>,
    /// URLs inside the Kubernetes cluster.
    pub in_cluster: InClusterEndpoints,
}

/// URLs that Pods of the same Kubernetes cluster reach.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InClusterEndpoints {
    /// URLs that encoders publish to.
    pub publish: Vec<Endpoint>,
    /// URLs that viewers play.
    pub play: Vec<Endpoint>,
}

/// URL of a LiveCluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// Role and protocol, such as `edge-http-flv`, behind `gateway-` if a Gateway has the address.
    pub name: String,
    /// The URL.
    pub url: String,
}
