//! The `LiveCluster` resource: what a user writes, what the operator answers, how everything that belongs to it is
//! named, and the CustomResourceDefinition. No client.
//!
//! [`spec`] holds the resource, [`pods`] what origins and edges have in common, [`service`] how they are reached,
//! [`status`] the answer, [`names`] names and labels, [`mod@node_config`] what a media node is told,
//! [`mod@definition`] the way from these types to `crds/livecluster.yaml`.

pub mod definition;
pub mod names;
pub mod node_config;
pub mod pods;
pub mod service;
pub mod spec;
pub mod status;

pub use definition::{DefinitionError, definition, manifest, schema, violations};
pub use media_config::Role;
pub use names::ClusterName;
pub use node_config::node_config;
pub use pods::{DisruptionBudget, Edges, Nodes, Origins, Resources};
pub use service::{NodePorts, Ports, ServiceSettings, ServiceType, TrafficPolicy};
pub use spec::{ImagePullPolicy, LiveCluster, LiveClusterSpec, NetworkPolicySettings, SecretName};
pub use status::{Endpoint, Endpoints, LiveClusterStatus, RoleStatus, StreamsStatus};
