//! Autoscaling of the edges: their number follows their viewers or what they send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;

/// Autoscaling of the edge Pods. The operator asks the Pods themselves; no other component is needed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct Autoscaling {
    /// Fewest edge Pods.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: u16,
    /// Most edge Pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u16,
    /// Viewers for each edge Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_viewers: Option<u32>,
    /// Megabits per second that each edge Pod sends to its clients. With both targets, the one that needs more Pods counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_egress_mbps: Option<u32>,
    /// Room that is kept free for new viewers, in percent of the load.
    #[serde(default = "default_buffer")]
    #[schemars(range(max = 1000))]
    pub buffer_percent: u16,
    /// How fast the number of Pods changes.
    #[serde(default)]
    pub behavior: AutoscalingBehavior,
}

/// How fast the number of edge Pods changes. It grows at once.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AutoscalingBehavior {
    /// How fast the number of Pods decreases.
    pub scale_down: ScaleDownBehavior,
}

/// How fast the number of edge Pods decreases.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScaleDownBehavior {
    /// Seconds for which fewer Pods must have been enough.
    #[schemars(range(max = 3600))]
    pub stabilization_window_seconds: u16,
    /// Pods that retire in a minute, in percent of all; at least one.
    #[schemars(range(min = 1, max = 100))]
    pub percent_per_minute: u16,
}

impl Default for ScaleDownBehavior {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: 300,
            percent_per_minute: 25,
        }
    }
}

fn one() -> u16 {
    1
}

fn default_buffer() -> u16 {
    10
}

/// Rules of the autoscaling.
pub(crate) const RULES: [Rule<Autoscaling>; 2] = [
    Rule {
        rule: "self.minReplicas <= self.maxReplicas",
        message: "minReplicas must not exceed maxReplicas",
        holds: Some(|autoscaling| autoscaling.min_replicas <= autoscaling.max_replicas),
    },
    Rule {
        rule: "has(self.targetViewers) || has(self.targetEgressMbps)",
        message: "autoscaling needs targetViewers or targetEgressMbps",
        holds: Some(|autoscaling| {
            autoscaling.target_viewers.is_some() || autoscaling.target_egress_mbps.is_some()
        }),
    },
];
