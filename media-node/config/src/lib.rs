//! Configuration file of a media node: one YAML document in which every field has a default.
//!
//! The operator writes it into a ConfigMap, and the media node reads it. `livecluster local` passes it in memory.
//! [`LiveSettings`] are those that change while the media node runs, in a file of their own.
//! [`StreamSettings`], [`Limits`], [`ProxySettings`] and [`LogSettings`] are also part of the `LiveCluster` resource, so that a
//! setting has one name, one default and one range everywhere. These types ignore unknown fields, because a newer
//! definition of the resource may have more. Reading a file refuses them.

mod auth;
mod identity;
mod limits;
mod live;
mod load;
mod metrics;
mod proxies;
mod settings;
mod validate;

pub use auth::{
    AccessSettings, AuthSettings, CidrLists, FailurePolicy, HookSettings, JwtAlgorithm, JwtRules,
    JwtSettings, JwtSubject, KeySettings, SignedUrlRules, SignedUrlScheme, SignedUrlSettings,
};
pub use identity::{IdentitySettings, ServiceAccountSettings, TOKEN_PER_CLUSTER};
pub use limits::Limits;
pub use live::{LiveLogSettings, LiveSettings};
pub use load::{ConfigError, load, parse, parse_live, render, render_changes, render_live_changes};
pub use metrics::MetricsSettings;
pub use proxies::{ForwardedHeader, ProxySettings, cidrs_schema};
pub use settings::{
    CorsSettings, Discovery, DrainSettings, DuplicatePublish, HttpSettings, Listen, LogFormat,
    LogSettings, NodeConfig, Role, StreamSettings, TlsSettings,
};
pub use validate::InvalidSetting;
