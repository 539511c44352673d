//! The LiveCluster resource: its types, the names of its objects, and its CustomResourceDefinition. No client.
//!
//! Read in this order: [`spec`] (what a user writes), [`pods`] and [`service`] (what origins and edges have in common),
//! `status` (what the operator reports), [`mod@node_config`] (the configuration of a media node).
//!
//! The feature `kube` adds what needs the types of Kubernetes: `LiveCluster` itself, its status, its conditions, the names
//! and labels of its objects, and `definition`, which makes `crds/livecluster.yaml`.

pub mod auth;
pub mod autoscaling;
pub mod client_port;
pub mod cluster_name;
#[cfg(feature = "kube")]
pub mod conditions;
#[cfg(feature = "kube")]
pub mod definition;
pub mod gateway;
mod gateway_routes;
pub mod http;
pub mod kubernetes;
pub mod mount;
#[cfg(feature = "kube")]
pub mod names;
pub mod node_config;
pub mod pods;
pub mod role;
pub mod rolling_update;
mod rule;
pub mod rules;
mod schema;
pub mod service;
pub mod slate;
pub mod spec;
#[cfg(feature = "kube")]
pub mod status;
pub mod tls;

pub use auth::{AccessSpec, AuthSpec};
pub use autoscaling::{AnnouncedEvent, Autoscaling, AutoscalingBehavior, ScaleDownBehavior};
pub use client_port::ClientPort;
pub use cluster_name::ClusterName;
#[cfg(feature = "kube")]
pub use definition::{DefinitionError, manifest};
pub use gateway::{GatewayParent, GatewayRoute, GatewaySpec};
pub use http::{DirectorySpec, HttpSpec};
pub use kubernetes::{Quantity, Toleration};
pub use media_config::Role;
pub use mount::{Mount, MountSource};
pub use node_config::node_config;
pub use pods::{DisruptionBudget, Edges, Origins, PodSettings, Resources};
pub use rolling_update::{PodCount, RollingUpdate};
pub use service::{NodePorts, Ports, ServiceSettings, ServiceType, TrafficPolicy};
pub use slate::SlateSpec;
#[cfg(feature = "kube")]
pub use spec::LiveCluster;
pub use spec::{ImagePullPolicy, LiveClusterSpec, NetworkPolicySettings, SecretName};
#[cfg(feature = "kube")]
pub use status::{
    AutoscalingStatus, DrainingPod, Endpoint, Endpoints, InClusterEndpoints, LiveClusterStatus,
    OperatorName, RecommendedReplicas, RoleStatus, StabilizationWindow, StreamsStatus,
};
pub use tls::TlsSpec;
