//! A validation rule that spans several fields: in CEL for the API server, and in Rust for `livecluster check`.
//!
//! An interpreter of CEL takes as long to compile as the media node. A test in [`rules`](crate::rules) proves that both forms
//! of each rule agree.

use serde::Serialize;

/// Rule about a value of type `T`. Serialized, it is an item of `x-kubernetes-validations`.
#[derive(Serialize)]
pub(crate) struct Rule<T: ?Sized> {
    pub(crate) rule: &'static str,
    pub(crate) message: &'static str,
    /// The rule in Rust. Absent where it compares with the old object, which only the API server has.
    #[serde(skip)]
    pub(crate) holds: Option<fn(&T) -> bool>,
}

/// Returns the message of each rule that a value breaks, behind its path.
pub(crate) fn broken<T: ?Sized>(path: &str, rules: &[Rule<T>], value: &T) -> Vec<String> {
    let broken = rules
        .iter()
        .filter(|rule| rule.holds.is_some_and(|holds| !holds(value)));
    broken
        .map(|rule| format!("{path}: {}", rule.message))
        .collect()
}

#[cfg(feature = "kube")]
impl<T: ?Sized> From<&Rule<T>> for kube::core::Rule {
    fn from(rule: &Rule<T>) -> Self {
        Self::new(rule.rule).message(rule.message)
    }
}
