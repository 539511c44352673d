//! Gateways and routes of the Gateway API: `spec.gateway`.

use media_config::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client_port::ClientPort;

/// Routes of the Gateway API. They lead from Gateways to the Services of the Pods.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Gateways that the routes are attached to. They must allow routes of this namespace.
    #[schemars(length(min = 1, max = 16))]
    pub parent_refs: Vec<GatewayParent>,
    /// Host names of the HTTPRoutes and TLSRoutes, such as `live.example.com` or `*.example.com`, and of the URLs in the status. A
    /// TLSRoute needs one. An HTTPRoute without any accepts every host name.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
            )
        )
    )]
    pub hostnames: Vec<String>,
}

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayParent {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway. That of the LiveCluster when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
    /// Name of the Gateway's listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
    /// Port of the Gateway's listeners. Without it and `sectionName`, a TCPRoute or TLSRoute is attached to the listeners that have
    /// the port of the Service, such as 1935 for RTMP; an HTTPRoute is attached to all HTTP listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Routes that are attached. When empty, those of the edges (without edges, those of the origins) to every open port.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub routes: Vec<GatewayRoute>,
}

/// A route: the Pods' role and the port that it leads to. The ports `rtmps` and `https` are open with `spec.tls`.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayRoute {
    /// HTTPRoute: HTTP-FLV, WebSocket-FLV and the player page.
    EdgeHttp,
    /// TLSRoute: the same by TLS, which the Pods terminate.
    EdgeHttps,
    /// TCPRoute: RTMP, to play and to publish.
    EdgeRtmp,
    /// TLSRoute: RTMP by TLS, which the Pods terminate.
    EdgeRtmps,
    /// HTTPRoute to the origins.
    OriginHttp,
    /// TLSRoute to the origins: HTTP by TLS.
    OriginHttps,
    /// TCPRoute to the origins: RTMP.
    OriginRtmp,
    /// TLSRoute to the origins: RTMP by TLS.
    OriginRtmps,
}

impl GatewayRoute {
    /// All routes.
    pub const ALL: [Self; 8] = [
        Self::EdgeHttp,
        Self::EdgeHttps,
        Self::EdgeRtmp,
        Self::EdgeRtmps,
        Self::OriginHttp,
        Self::OriginHttps,
        Self::OriginRtmp,
        Self::OriginRtmps,
    ];

    /// Returns the role of the Pods.
    pub fn role(self) -> Role {
        match self {
            Self::EdgeHttp | Self::EdgeHttps | Self::EdgeRtmp | Self::EdgeRtmps => Role::Edge,
            _ => Role::Origin,
        }
    }

    /// Returns the port of the Pods.
    pub fn port(self) -> ClientPort {
        match self {
            Self::EdgeHttp | Self::OriginHttp => ClientPort::Http,
            Self::EdgeHttps | Self::OriginHttps => ClientPort::Https,
            Self::EdgeRtmp | Self::OriginRtmp => ClientPort::Rtmp,
            Self::EdgeRtmps | Self::OriginRtmps => ClientPort::Rtmps,
        }
    }

    /// Returns its name in a spec, such as `edge-http`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdgeHttp => "edge-http",
            Self::EdgeHttps => "edge-https",
            Self::EdgeRtmp => "edge-rtmp",
            Self::EdgeRtmps => "edge-rtmps",
            Self::OriginHttp => "origin-http",
            Self::OriginHttps => "origin-https",
            Self::OriginRtmp => "origin-rtmp",
            Self::OriginRtmps => "origin-rtmps",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_routes_are_those_of_a_spec() {
        for route in GatewayRoute::ALL {
            assert_eq!(json!(route), route.name());
        }
    }
}
