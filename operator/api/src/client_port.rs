//! The ports of a Pod for encoders and viewers.

use crate::service::{NodePorts, Ports};

/// A port of a Pod for encoders and viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPort {
    /// RTMP by TLS.
    Rtmps,
    /// HTTP by TLS.
    Https,
    /// RTMP.
    Rtmp,
    /// HTTP.
    Http,
}

impl ClientPort {
    /// Returns the name of the port, which containers and Services have in common.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtmps => "rtmps",
            Self::Https => "https",
            Self::Rtmp => "rtmp",
            Self::Http => "http",
        }
    }

    /// Returns the number of the port of a Pod.
    pub fn container_port(self) -> u16 {
        match self {
            Self::Rtmps => 1936,
            Self::Https => 8443,
            Self::Rtmp => 1935,
            Self::Http => 8080,
        }
    }

    /// Returns the number of the port of a Service.
    pub fn service_port(self, ports: &Ports) -> u16 {
        match self {
            Self::Rtmps => ports.rtmps,
            Self::Https => ports.https,
            Self::Rtmp => ports.rtmp,
            Self::Http => ports.http,
        }
    }

    /// Returns the node port, unless Kubernetes allocates it.
    pub fn node_port(self, ports: &NodePorts) -> Option<u16> {
        match self {
            Self::Rtmps => ports.rtmps,
            Self::Https => ports.https,
            Self::Rtmp => ports.rtmp,
            Self::Http => ports.http,
        }
    }
}
