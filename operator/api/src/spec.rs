//! The spec of a LiveCluster, and with the feature `kube` the resource itself.

use media_config::{Limits, LogSettings, MetricsSettings, ProxySettings, Role, StreamSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::AuthSpec;
use crate::client_port::ClientPort;
use crate::gateway::GatewaySpec;
use crate::http::HttpSpec;
use crate::mount::Mount;
use crate::pods::{Edges, Origins, PodSettings};
use crate::schema;
use crate::slate::SlateSpec;
use crate::tls::TlsSpec;

/// Desired state of a LiveCluster. Every field has a default: `spec: {}` is one origin Pod and two edge Pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[cfg_attr(
    feature = "kube",
    derive(kube::CustomResource),
    kube(
        group = "livecluster.dev",
        version = "v1alpha1",
        kind = "LiveCluster",
        namespaced,
        shortname = "lc",
        category = "streaming",
        status = "crate::status::LiveClusterStatus",
        derive = "PartialEq",
        doc = "A live streaming cluster. Encoders publish RTMP to any of its Pods; viewers play RTMP or HTTP-FLV from any of them.",
        validation = &crate::cluster_name::RULES[0],
        validation = &crate::cluster_name::RULES[1],
        scale(
            spec_replicas_path = ".spec.edges.replicas",
            status_replicas_path = ".status.edges.replicas",
            label_selector_path = ".status.edges.selector"
        ),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
            description = "Whether streams can be published and played"
        ),
        printcolumn(
            name = "Reason",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
            description = "Reason of the Ready condition",
            priority = 1
        ),
        printcolumn(
            name = "Origins",
            type_ = "string",
            json_path = ".status.origins.ready",
            description = "Origin Pods that are ready, and that are wanted"
        ),
        printcolumn(
            name = "Edges",
            type_ = "string",
            json_path = ".status.edges.ready",
            description = "Edge Pods that are ready, and that are wanted"
        ),
        printcolumn(
            name = "Streams",
            type_ = "integer",
            json_path = ".status.streams.active",
            description = "Streams that are published, rounded to two digits"
        ),
        printcolumn(
            name = "Viewers",
            type_ = "integer",
            json_path = ".status.streams.viewers",
            description = "Viewers of all Pods, rounded to two digits"
        ),
        printcolumn(
            name = "Draining",
            type_ = "integer",
            json_path = ".status.drainingPods",
            description = "Pods that serve their last clients"
        ),
        printcolumn(
            name = "Publish",
            type_ = "string",
            json_path = ".status.endpoints.publishUrl",
            description = "URL that encoders publish to",
            priority = 1
        ),
        printcolumn(
            name = "Image",
            type_ = "string",
            json_path = ".status.image",
            description = "Container image of the Pods",
            priority = 1
        ),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp"
        )
    )
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(transform = schema::structural)]
pub struct LiveClusterSpec {
    /// Container image of the Pods. When absent, the operator's default at the time when the LiveCluster was created: an
    /// upgrade of the operator does not restart Pods. Changing it triggers a rolling update.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`. Changing it triggers a rolling update.
    pub image_pull_policy: ImagePullPolicy,
    /// Secrets of the same namespace with the credentials of the image's registry. Changing them triggers a rolling update.
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretName>,
    /// Whether the operator leaves all objects as they are. It still updates the status, and lets all edges take new viewers.
    pub paused: bool,
    /// Class of the operator that reconciles the LiveCluster, where there are several. The operator without a class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub operator_class: Option<String>,
    /// Pods that hold the published streams and serve them to all other Pods. Changing anything but `replicas`, `service`,
    /// `rollingUpdate` and `podDisruptionBudget` triggers a rolling update.
    pub origins: Origins,
    /// Pods that serve viewers. A stream that is published to an edge is forwarded to an origin. Changing anything but `replicas`,
    /// `autoscaling`, `retireTimeoutSeconds`, `service`, `rollingUpdate` and `podDisruptionBudget` triggers a rolling update.
    pub edges: Edges,
    /// Routes of the Gateway API that lead from Gateways to the Pods. It has no effect while the Kubernetes cluster does not serve
    /// the Gateway API, as the condition `RoutesAccepted` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
    /// NetworkPolicy of the Pods.
    pub network_policy: NetworkPolicySettings,
    /// Behavior of streams. Changing it triggers a rolling update.
    pub stream: StreamSettings,
    /// Limits that protect a media node. Changing one takes effect within about a minute, without a rolling update: for new
    /// connections and new streams, while those that exist stay.
    pub limits: Limits,
    /// Who may publish and who may play. Changing it triggers a rolling update; changing a Secret or ConfigMap that it names
    /// does not, and takes effect within about a minute.
    pub auth: AuthSpec,
    /// Certificate of the ports with TLS: RTMPS (1936), HTTPS and WSS (8443). They are closed when absent. Changing it triggers a
    /// rolling update; changing the Secret that it names does not, and takes effect within about a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Load balancers and reverse proxies that are trusted to say whose connection or request they forward. Changing it triggers a
    /// rolling update.
    pub proxies: ProxySettings,
    /// Clip that viewers watch while a stream waits for an encoder. Changing it triggers a rolling update; a changed ConfigMap takes
    /// effect with the next start of an origin Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slate: Option<SlateSpec>,
    /// HTTP port of the Pods. Changing it triggers a rolling update.
    pub http: HttpSpec,
    /// Host names with streams of their own. Every other host name is the default virtual host. Changing them triggers a
    /// rolling update.
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")
        )
    )]
    pub vhosts: Vec<String>,
    /// Metrics of the media nodes. Changing them takes effect within about a minute, without a rolling update.
    pub metrics: MetricsSettings,
    /// Logs of the media nodes. Changing the level takes effect within about a minute, without a rolling update; changing the
    /// format triggers one.
    pub logs: LogSettings,
}

impl LiveClusterSpec {
    /// Returns the Secrets and ConfigMaps that are mounted, each into a folder of its volume's name.
    pub fn mounts(&self) -> Vec<Mount> {
        let mut mounts = [self.auth.mounts(), self.http.mounts()].concat();
        mounts.extend(self.tls.as_ref().map(TlsSpec::mount));
        mounts.extend(self.slate.as_ref().map(SlateSpec::mount));
        mounts
    }

    /// Returns the settings of the Pods of one role.
    pub fn pods(&self, role: Role) -> &PodSettings {
        match role {
            Role::Origin => &self.origins.pods,
            Role::Edge => &self.edges.pods,
        }
    }

    /// Returns the desired number of Pods of one role, with autoscaling the fewest.
    pub fn replicas(&self, role: Role) -> u16 {
        match (role, &self.edges.autoscaling) {
            (Role::Origin, _) => self.origins.replicas,
            (Role::Edge, Some(autoscaling)) => autoscaling.min_replicas,
            (Role::Edge, None) => self.edges.replicas,
        }
    }

    /// Returns the open ports of a Pod for encoders and viewers.
    pub fn client_ports(&self) -> Vec<ClientPort> {
        let plain = [ClientPort::Rtmp, ClientPort::Http];
        let secure = [ClientPort::Rtmps, ClientPort::Https];
        match &self.tls {
            None => plain.to_vec(),
            Some(tls) if tls.required => secure.to_vec(),
            Some(_) => [plain, secure].concat(),
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

impl ImagePullPolicy {
    /// Returns the name that Kubernetes has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Reference to a Secret of the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// NetworkPolicy of the Pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether a NetworkPolicy exists. It admits every client to the RTMP and HTTP ports, and only the LiveCluster's own
    /// Pods and the operator to the internal port and the metrics. The operator's Helm chart admits Prometheus to the metrics
    /// with its value `metrics.podMonitor`.
    pub enabled: bool,
    /// Further clients of the internal port and the metrics, such as Prometheus: peers as in a NetworkPolicy's `ingress.from`.
    #[schemars(length(max = 16), schema_with = "schema::raw_list")]
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
