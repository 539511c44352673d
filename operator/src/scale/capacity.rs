//! What an edge is meant for: the targets of autoscaling, within the limit of connections.

use livecluster_api::{Autoscaling, LiveClusterSpec, TrafficPolicy};
use media_config::Role;

use super::joins::JoinLoad;

/// Percentage of `limits.maxConnections` that viewers may take up. The rest is for publishers and for requests without a stream.
const CONNECTIONS_PERCENT: u32 = 90;

/// What an edge is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EdgeCapacity {
    /// Viewers.
    viewers: f64,
    /// Megabits per second to its clients.
    egress_mbps: Option<f64>,
    /// Most viewers that it can have.
    pub max_viewers: u32,
    /// Whether a client reaches only the edges of the node that it connects to.
    pub is_local: bool,
}

impl EdgeCapacity {
    /// Returns the targets of autoscaling, and the limit of connections.
    pub fn of(spec: &LiveClusterSpec) -> Self {
        let autoscaling = autoscaling(spec);
        let target = autoscaling.as_ref().and_then(|it| it.target_viewers);
        let egress = autoscaling.as_ref().and_then(|it| it.target_egress_mbps);
        let policy = spec.pods(Role::Edge).service.external_traffic_policy;
        Self {
            viewers: target.unwrap_or(viewers_by_connections(spec)).into(),
            egress_mbps: egress.map(f64::from),
            max_viewers: spec.limits.max_connections,
            is_local: policy == TrafficPolicy::Local,
        }
    }

    /// Returns the load of an edge.
    pub fn load(&self, viewers: f64, egress_mbps: f64) -> JoinLoad {
        let egress = self.egress_mbps.map_or(0.0, |target| egress_mbps / target);
        JoinLoad {
            viewers,
            of_target: (viewers / self.viewers).max(egress),
        }
    }
}

/// Returns the autoscaling of a spec. An edge that refuses connections before its viewers or their egress reach the target counts
/// as full: otherwise no edge would be added for those that it refuses.
pub fn autoscaling(spec: &LiveClusterSpec) -> Option<Autoscaling> {
    let autoscaling = spec.edges.autoscaling.clone()?;
    let most = viewers_by_connections(spec);
    let target_viewers = Some(autoscaling.target_viewers.map_or(most, |it| it.min(most)));
    Some(Autoscaling {
        target_viewers,
        ..autoscaling
    })
}

fn viewers_by_connections(spec: &LiveClusterSpec) -> u32 {
    let viewers = spec
        .limits
        .max_connections
        .saturating_mul(CONNECTIONS_PERCENT)
        / 100;
    viewers.max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(spec: Value) -> LiveClusterSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn edge_near_its_limit_of_connections_is_at_its_target() {
        let capacity = EdgeCapacity::of(&LiveClusterSpec::default());
        assert!(capacity.load(8_999.0, 0.0).of_target < 1.0);
        assert!(capacity.load(9_000.0, 0.0).of_target >= 1.0);
    }

    #[test]
    fn egress_counts_like_viewers_where_it_is_a_target() {
        let autoscaling = json!({"maxReplicas": 9, "targetViewers": 100, "targetEgressMbps": 800});
        let capacity = EdgeCapacity::of(&spec(json!({"edges": {"autoscaling": autoscaling}})));
        assert!(capacity.load(10.0, 800.0).of_target >= 1.0);
        assert!(capacity.load(10.0, 400.0).of_target < 1.0);
    }

    #[test]
    fn target_beyond_the_limit_of_connections_is_that_limit() {
        for (targets, limit, expected) in [
            (json!({"targetViewers": 500}), 10_000, 500),
            (json!({"targetViewers": 50_000}), 10_000, 9_000),
            (json!({"targetEgressMbps": 800}), 1_000, 900),
            (json!({"targetViewers": 10}), 1, 1),
        ] {
            let mut autoscaling = targets.clone();
            autoscaling["maxReplicas"] = 9.into();
            let limits = json!({"maxConnections": limit});
            let spec = spec(json!({"edges": {"autoscaling": autoscaling}, "limits": limits}));
            let found = super::autoscaling(&spec).unwrap();
            assert_eq!(found.target_viewers, Some(expected), "{targets}");
        }
    }
}
