//! The configuration file of a media node: one YAML document, every field with a default.
//!
//! The operator writes it (into a ConfigMap, or for `livecluster local` straight into the node), the node reads it.
//! [`StreamSettings`] and [`Limits`] are also part of the `LiveCluster` resource, so that a setting has one name, one
//! default and one range wherever it is written.

mod auth;
mod load;
mod settings;

pub use auth::{
    AccessSettings, AuthSettings, CidrLists, FailurePolicy, HookSettings, JwtAlgorithm, JwtRules,
    JwtSettings, JwtSubject, KeySettings, SignedUrlRules, SignedUrlScheme, SignedUrlSettings,
};
pub use load::{ConfigError, load, parse, render, render_changes};
pub use settings::{
    CorsSettings, Discovery, DrainSettings, DuplicatePublish, HttpSettings, Limits, Listen,
    LogFormat, LogSettings, NodeConfig, Role, StreamSettings,
};
