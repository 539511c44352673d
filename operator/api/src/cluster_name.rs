//! Namespace and name: what identifies a LiveCluster.

use std::fmt;

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
