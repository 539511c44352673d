//! The objects that a spec refers to, and whether they exist.

/// The references of a spec that cannot be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// References to objects that do not exist.
    pub missing: Vec<MissingReference>,
    /// Whether Secrets were not verified, as the operator may not read them.
    pub secrets_unchecked: bool,
}

/// A reference to an object that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingReference {
    /// The object's kind.
    pub kind: ReferenceKind,
    /// The object's name.
    pub name: String,
    /// The field of the spec that refers to it.
    pub field: String,
}

/// The kinds of objects that a spec refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A Secret: the credentials of a registry, keys, or a certificate.
    Secret,
    /// A ServiceAccount for the Pods.
    ServiceAccount,
}

impl ReferenceKind {
    /// Returns the name of the kind in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// Returns the reason of a condition when the object is missing.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Secret => "SecretNotFound",
            Self::ServiceAccount => "ServiceAccountNotFound",
        }
    }
}
