//! Autoscaling of the edges: their number follows their viewers or what they send.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;
use crate::schema;

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
    /// Viewers for each edge Pod. At most 90 percent of `limits.maxConnections` count.
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
    /// Events whose viewers come at a known time. The Pods for them are added ten minutes before. The condition
    /// `EventCapacityReady` says whether they are ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub events: Vec<AnnouncedEvent>,
}

/// Event whose viewers come at a known time.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedEvent {
    /// When it begins, in the form of RFC 3339: `2027-01-31T20:00:00Z` or `2027-01-31T21:00:00+01:00`.
    #[schemars(schema_with = "schema::date_time")]
    pub starts_at: String,
    /// How long its viewers stay, such as `90m` or `2h30m`: hours, minutes and seconds in this order.
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = r"^([1-9][0-9]{0,2}h)?([1-9][0-9]{0,3}m)?([1-9][0-9]{0,4}s)?$")
    )]
    pub duration: String,
    /// Viewers of all edges together. Those of events at the same time are added up.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub viewers: u32,
}

impl AnnouncedEvent {
    /// Returns how long the event lasts. Text that the schema does not allow counts as nothing.
    pub fn duration(&self) -> Duration {
        let mut seconds: u64 = 0;
        let mut number: u64 = 0;
        for character in self.duration.chars() {
            let unit = match character {
                'h' => 3600,
                'm' => 60,
                's' => 1,
                digit => {
                    let digit = digit.to_digit(10).unwrap_or(0);
                    number = number.saturating_mul(10).saturating_add(digit.into());
                    continue;
                }
            };
            seconds = seconds.saturating_add(number.saturating_mul(unit));
            number = 0;
        }
        Duration::from_secs(seconds)
    }
}

/// How fast the number of edge Pods changes. It grows immediately.
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
    /// Seconds for which fewer Pods must have been enough, where the load comes back soon after it has fallen. A fifth of them is
    /// enough while it does not: an edge that retires keeps its viewers, and returns at once when it is wanted again.
    #[schemars(range(max = 3600))]
    pub stabilization_window_seconds: u16,
    /// Pods that retire in a minute, in percent of all; at least one. Pods for a rise that has ended are not limited.
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
pub(crate) const RULES: [Rule<Autoscaling>; 3] = [
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
    Rule {
        rule: "!has(self.events) || self.events.size() == 0 || has(self.targetViewers)",
        message: "events needs targetViewers",
        holds: Some(|autoscaling| {
            autoscaling.events.is_empty() || autoscaling.target_viewers.is_some()
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_the_sum_of_its_parts() {
        for (text, seconds) in [("90m", 5400), ("2h30m", 9000), ("1h1m1s", 3661), ("", 0)] {
            let event = AnnouncedEvent {
                starts_at: String::new(),
                duration: text.to_owned(),
                viewers: 1,
            };
            assert_eq!(event.duration(), Duration::from_secs(seconds), "{text}");
        }
    }
}
