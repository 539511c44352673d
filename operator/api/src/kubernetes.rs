//! Types of Kubernetes that a spec contains, written down once more: `k8s-openapi` takes a minute to compile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Amount of a resource, such as `500m` or `256Mi`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Number", into = "String")]
pub struct Quantity(pub String);

/// A quantity as it may be written: `cpu: 2` is a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(serde_json::Number),
}

impl From<Number> for Quantity {
    fn from(number: Number) -> Self {
        match number {
            Number::Text(text) => Self(text),
            Number::Number(number) => Self(number.to_string()),
        }
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// A taint that a Pod tolerates: one with this key, value and effect.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    /// Effect of the taint: `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Every effect when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Key of the taint. Every key when absent; `operator` must then be `Exists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Equal` compares the taint's value with `value`, `Exists` accepts every value. `Equal` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Seconds that a Pod tolerates a `NoExecute` taint before it is evicted. Forever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
    /// Value of the taint, with the operator `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[cfg(feature = "kube")]
impl From<&Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.0.clone())
    }
}

#[cfg(feature = "kube")]
impl From<&Toleration> for k8s_openapi::api::core::v1::Toleration {
    fn from(toleration: &Toleration) -> Self {
        Self {
            effect: toleration.effect.clone(),
            key: toleration.key.clone(),
            operator: toleration.operator.clone(),
            toleration_seconds: toleration.toleration_seconds,
            value: toleration.value.clone(),
        }
    }
}
