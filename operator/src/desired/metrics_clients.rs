//! The clients of the metrics of all clusters, an option of the operator.

use std::str::FromStr;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;

use super::overlay;

/// Clients of the metrics of all clusters, such as Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsClients(pub(super) Vec<NetworkPolicyPeer>);

impl FromStr for MetricsClients {
    type Err = String;

    /// Parses a JSON list of peers as in a NetworkPolicy's `ingress.from`.
    fn from_str(text: &str) -> Result<Self, String> {
        let raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let peers = overlay::typed("from", raw).map_err(|error| error.to_string())?;
        Ok(Self(peers))
    }
}
