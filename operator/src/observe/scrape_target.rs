//! The Pods that are scraped.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use media_config::Role;

use super::observed::Observed;
use super::pods::{is_full, is_ready, is_retiring, is_terminating, node_name};

/// The internal port of a media node.
const INTERNAL_PORT: u16 = 9090;

/// A Pod to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeTarget {
    /// UID of the Pod. Its address may be given to another Pod.
    pub uid: String,
    /// Address of its internal port.
    pub address: SocketAddr,
    /// Role of the Pod. Publications count on origins only: an edge forwards its own to an origin.
    pub role: Role,
    /// Whether the Pod takes new clients.
    pub state: TargetState,
    /// Node that runs the Pod.
    pub node: String,
}

/// Whether a Pod takes new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It takes new clients.
    Serving,
    /// It takes none while emptier edges do.
    Full,
    /// It is removed when its last client has disconnected.
    Retiring,
    /// It is terminating.
    Terminating,
}

impl TargetState {
    /// Returns whether the Pod takes new clients, now or when the emptier ones have caught up.
    pub fn takes_clients(self) -> bool {
        matches!(self, Self::Serving | Self::Full)
    }

    fn of(pod: &Pod) -> Self {
        if is_terminating(pod) {
            Self::Terminating
        } else if is_retiring(pod) {
            Self::Retiring
        } else if is_full(pod) {
            Self::Full
        } else {
            Self::Serving
        }
    }
}

/// Returns the Pods to scrape: ready ones, and those that drain, which may still have clients.
pub fn targets(observed: &Observed) -> Vec<ScrapeTarget> {
    let mut targets = Vec::new();
    for role in [Role::Origin, Role::Edge] {
        let pods = observed
            .pods(role)
            .filter(|pod| is_ready(pod) || is_terminating(pod) || is_retiring(pod));
        targets.extend(pods.filter_map(|pod| {
            Some(ScrapeTarget {
                uid: pod.uid()?,
                address: SocketAddr::new(address(pod)?, INTERNAL_PORT),
                role,
                state: TargetState::of(pod),
                node: node_name(pod),
            })
        }));
    }
    targets
}

fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let is_running = status.phase.as_deref() == Some("Running");
    status.pod_ip.as_ref().filter(|_| is_running)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminating_pods_are_scraped_and_starting_ones_are_not() {
        let pod = |name: &str, ready: &str, terminating: bool| {
            serde_json::json!({
                "metadata": {
                    "name": name, "uid": name, "labels": {"app.kubernetes.io/component": "edge"},
                    "deletionTimestamp": terminating.then_some("2026-11-22T10:00:00Z")
                },
                "status": {"phase": "Running", "podIP": "192.0.2.7", "conditions": [{"type": "Ready", "status": ready}]}
            })
        };
        let pods = serde_json::json!([
            pod("ready", "True", false),
            pod("starting", "False", false),
            pod("terminating", "False", true)
        ]);
        let observed = Observed {
            pods: serde_json::from_value(pods).unwrap(),
            ..Observed::default()
        };
        let uids: Vec<_> = targets(&observed)
            .into_iter()
            .map(|target| target.uid)
            .collect();
        assert_eq!(uids, ["ready", "terminating"]);
    }
}
