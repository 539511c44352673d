//! The kinds of the Gateway API, and the versions in which a Kubernetes cluster serves them.

use std::collections::BTreeMap;

use kube::core::{ApiResource, GroupVersionKind};

/// Group of the Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// A kind of the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayKind {
    /// A Gateway.
    Gateway,
    /// A route of HTTP requests.
    HttpRoute,
    /// A route of TLS connections, by the host name that their clients ask for.
    TlsRoute,
    /// A route of TCP connections.
    TcpRoute,
}

impl GatewayKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Gateway,
        Self::HttpRoute,
        Self::TlsRoute,
        Self::TcpRoute,
    ];

    /// Returns the name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
        }
    }

    /// Returns the name of the kind in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Gateway => "gateways",
            Self::HttpRoute => "httproutes",
            Self::TlsRoute => "tlsroutes",
            Self::TcpRoute => "tcproutes",
        }
    }
}

/// A version of the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
    /// `v1alpha3`.
    V1Alpha3,
    /// `v1alpha2`.
    V1Alpha2,
}

impl GatewayVersion {
    /// All versions, the preferred one first.
    pub const ALL: [Self; 4] = [Self::V1, Self::V1Beta1, Self::V1Alpha3, Self::V1Alpha2];

    /// Returns the name of the version.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
            Self::V1Alpha3 => "v1alpha3",
            Self::V1Alpha2 => "v1alpha2",
        }
    }
}

/// A kind in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayResource {
    /// The kind.
    pub kind: GatewayKind,
    /// The version.
    pub version: GatewayVersion,
}

impl GatewayResource {
    /// Returns it as a resource of the API.
    pub fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(GROUP, self.version.name(), self.kind.name());
        ApiResource::from_gvk_with_plural(&kind, self.kind.plural())
    }
}

/// The kinds that a Kubernetes cluster serves, each in its preferred version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedGatewayApi(BTreeMap<GatewayKind, GatewayVersion>);

impl ServedGatewayApi {
    /// Adds a kind, unless it is served in a preferred version.
    pub fn insert(&mut self, kind: GatewayKind, version: GatewayVersion) {
        let served = self.0.entry(kind).or_insert(version);
        *served = version.min(*served);
    }

    /// Returns a kind in its preferred version.
    pub fn get(&self, kind: GatewayKind) -> Option<GatewayResource> {
        let version = *self.0.get(&kind)?;
        Some(GatewayResource { kind, version })
    }

    /// Returns the kinds of routes.
    pub fn routes(&self) -> Vec<GatewayResource> {
        let routes = GatewayKind::ALL.into_iter().skip(1);
        routes.filter_map(|kind| self.get(kind)).collect()
    }

    /// Returns whether all kinds are served.
    pub fn is_complete(&self) -> bool {
        self.0.len() == GatewayKind::ALL.len()
    }
}
