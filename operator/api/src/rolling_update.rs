//! How many Pods a rollout replaces at a time.

use media_config::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;
use crate::schema::pod_count;

/// Pods that a rollout replaces at a time, as in a Deployment's `spec.strategy.rollingUpdate`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct RollingUpdate {
    /// Pods beyond the desired number that a rollout may add: a number, or a percentage of the desired Pods, rounded up. When
    /// absent, 1 for origins and 25% for edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_count")]
    pub max_surge: Option<PodCount>,
    /// Pods that may be unavailable during a rollout: a number, or a percentage of the desired Pods, rounded down. When absent,
    /// 0: a Pod is replaced after its successor is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_count")]
    pub max_unavailable: Option<PodCount>,
}

/// A number of Pods, or a percentage of the desired ones such as `25%`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PodCount {
    /// A number.
    Number(u16),
    /// A percentage.
    Percent(String),
}

impl RollingUpdate {
    /// Returns the Pods beyond the desired number. By default origins are replaced one by one, as their publishers have to
    /// reconnect; edges a quarter at a time.
    pub fn max_surge(&self, role: Role) -> PodCount {
        let default = || match role {
            Role::Origin => PodCount::Number(1),
            Role::Edge => PodCount::Percent("25%".to_owned()),
        };
        self.max_surge.clone().unwrap_or_else(default)
    }

    /// Returns the Pods that may be unavailable.
    pub fn max_unavailable(&self) -> PodCount {
        self.max_unavailable.clone().unwrap_or(PodCount::Number(0))
    }
}

impl PodCount {
    /// Returns the number of Pods, of which `desired` exist. A percentage is rounded down.
    pub fn of(&self, desired: u16) -> u16 {
        match self {
            Self::Number(number) => *number,
            Self::Percent(text) => {
                let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
                let pods = u32::from(desired) * percent.unwrap_or(0_u32) / 100;
                u16::try_from(pods).unwrap_or(desired)
            }
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Number(0)) || matches!(self, Self::Percent(text) if text == "0%")
    }
}

#[cfg(feature = "kube")]
impl From<PodCount> for k8s_openapi::apimachinery::pkg::util::intstr::IntOrString {
    fn from(count: PodCount) -> Self {
        match count {
            PodCount::Number(number) => Self::Int(number.into()),
            PodCount::Percent(text) => Self::String(text),
        }
    }
}

/// Rule of a rollout.
pub(crate) const RULES: [Rule<RollingUpdate>; 1] = [Rule {
    rule: "!has(self.maxSurge) || !(string(self.maxSurge) in ['0', '0%']) \
           || (has(self.maxUnavailable) && !(string(self.maxUnavailable) in ['0', '0%']))",
    message: "maxSurge and maxUnavailable must not both be 0: no Pod could be replaced",
    holds: Some(|update| {
        let surge = update.max_surge.as_ref();
        !surge.is_some_and(PodCount::is_zero) || !update.max_unavailable().is_zero()
    }),
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_is_rounded_down() {
        let of = |text: &str, desired| PodCount::Percent(text.to_owned()).of(desired);
        assert_eq!((of("25%", 7), of("100%", 3), of("1%", 99)), (1, 3, 0));
        assert_eq!(PodCount::Number(4).of(2), 4);
    }
}
