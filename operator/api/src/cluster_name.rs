//! Namespace and name: what identifies a LiveCluster.

use std::fmt;

use crate::rule::Rule;

/// Namespace and name of a LiveCluster.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterName {
    /// Its namespace.
    pub namespace: String,
    /// Its name in that namespace.
    pub name: String,
}

impl ClusterName {
    /// Returns the name of a resource that has this name and namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the name of `resource`: a LiveCluster, or a part of one such as its metadata.
    #[cfg(feature = "kube")]
    pub fn of(resource: &impl kube::ResourceExt) -> Self {
        Self::new(
            resource.namespace().unwrap_or_default(),
            resource.name_any(),
        )
    }

    /// Returns the name of the headless Service that lists every origin Pod, draining ones too.
    pub fn headless_service(&self) -> String {
        format!("{}-origin-headless", self.name)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Rules of a LiveCluster's name.
pub(crate) const RULES: [Rule<str>; 2] = [
    Rule {
        rule: "self.metadata.name.size() <= 38",
        message: "metadata.name must have at most 38 characters: the names of Services and Pods are made of it",
        holds: Some(|name| name.chars().count() <= 38),
    },
    Rule {
        rule: "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name must be lower case letters, digits and '-', begin with a letter and not end with '-'",
        holds: Some(is_dns_label),
    },
];

fn is_dns_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(allowed)
}
