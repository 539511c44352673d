//! The error of a spec that cannot be turned into objects.

use media_config::ConfigError;

/// A spec that cannot be turned into objects.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A raw part of the spec is not of its Kubernetes type.
    #[error("{field}: {message}")]
    Malformed {
        /// Path of the field.
        field: String,
        /// What is wrong with its value.
        message: String,
    },
    /// The media node would refuse its configuration.
    #[error("media node configuration: {0}")]
    NodeConfig(#[from] ConfigError),
    /// An object has no JSON representation.
    #[error("failed to serialize an object: {0}")]
    Json(#[from] serde_json::Error),
}
