//! The `LiveCluster` and its spec.

#![expect(
    clippy::duplicated_attributes,
    reason = "two printer columns may have the same type and priority"
)]

use kube::CustomResource;
use media_config::{Limits, LogSettings, Role, StreamSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::definition;
use crate::pods::{Edges, Nodes, Origins};
use crate::status::LiveClusterStatus;

/// What a live streaming cluster is to be. Every field has a default: `spec: {}` is one origin and two edges.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "livecluster.dev",
    version = "v1alpha1",
    kind = "LiveCluster",
    namespaced,
    shortname = "lc",
    category = "streaming",
    status = "LiveClusterStatus",
    derive = "PartialEq",
    doc = "A live streaming cluster: encoders publish RTMP to any of its nodes, viewers watch by RTMP or HTTP-FLV through any of them.",
    scale(
        spec_replicas_path = ".spec.edges.replicas",
        status_replicas_path = ".status.edges.replicas",
        label_selector_path = ".status.edges.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the cluster does what its spec says"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not",
        priority = 1
    ),
    printcolumn(
        name = "Origins",
        type_ = "integer",
        json_path = ".status.origins.readyReplicas",
        description = "Origins that are ready"
    ),
    printcolumn(
        name = "Edges",
        type_ = "integer",
        json_path = ".status.edges.readyReplicas",
        description = "Edges that are ready"
    ),
    printcolumn(
        name = "Streams",
        type_ = "integer",
        json_path = ".status.streams.active",
        description = "Streams that are published now"
    ),
    printcolumn(
        name = "Viewers",
        type_ = "integer",
        json_path = ".status.streams.viewers",
        description = "Viewers on all nodes, to two digits"
    ),
    printcolumn(
        name = "Publish",
        type_ = "string",
        json_path = ".status.endpoints.publish[0].url",
        description = "Where an encoder publishes",
        priority = 1
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.image",
        description = "The nodes' image",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(default, rename_all = "camelCase")]
pub struct LiveClusterSpec {
    /// The media nodes' image. The operator's default when absent; a running cluster then keeps the image it was
    /// started with, so that an upgrade of the operator does not restart its nodes. Changing it rolls all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: ImagePullPolicy,
    /// Secrets of this namespace with the registry's credentials.
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretName>,
    /// While true the operator changes nothing; it goes on reporting the status.
    pub paused: bool,
    /// The nodes that keep published streams and answer for them to all others.
    pub origins: Origins,
    /// The nodes that viewers are served by. They forward what is published to them to an origin.
    pub edges: Edges,
    /// Who may reach the nodes.
    pub network_policy: NetworkPolicySettings,
    /// How streams behave. A change rolls all nodes.
    pub stream: StreamSettings,
    /// What a node refuses. A change rolls all nodes.
    pub limits: Limits,
    /// Host names that have streams of their own. Any other host name, and none, means the default virtual host.
    /// A change rolls all nodes.
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")
        )
    )]
    pub vhosts: Vec<String>,
    /// What the nodes write to their logs. A change rolls all nodes.
    pub logs: LogSettings,
}

impl LiveClusterSpec {
    /// What is said about the nodes of one role.
    pub fn nodes(&self, role: Role) -> &Nodes {
        match role {
            Role::Origin => &self.origins.nodes,
            Role::Edge => &self.edges.nodes,
        }
    }

    /// How many nodes of one role there are to be.
    pub fn replicas(&self, role: Role) -> u16 {
        match role {
            Role::Origin => self.origins.replicas,
            Role::Edge => self.edges.replicas,
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// When the machine does not have it.
    #[default]
    IfNotPresent,
    /// Not at all: the machine has it already.
    Never,
}

impl ImagePullPolicy {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Who may reach the nodes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether a NetworkPolicy lets everybody reach the RTMP and HTTP ports, but only the cluster's own nodes and the
    /// operator the internal port.
    pub enabled: bool,
    /// Who else may reach the internal port, for example Prometheus: peers as in a NetworkPolicy's `ingress.from`.
    #[schemars(length(max = 16), schema_with = "definition::raw_list")]
    pub internal_from: Vec<Map<String, Value>>,
}

impl Default for NetworkPolicySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            internal_from: Vec::new(),
        }
    }
}
