//! Settings that change while a media node runs: a file of their own beside the configuration, which is read again when it
//! changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Limits, LogSettings, MetricsSettings, NodeConfig};

/// Settings that change while a media node runs. They are named as in [`NodeConfig`], with the same ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LiveSettings {
    /// Log on standard error.
    pub log: LiveLogSettings,
    /// Limits that protect the media node.
    pub limits: Limits,
    /// Metrics.
    pub metrics: MetricsSettings,
}

/// The part of [`LogSettings`] that changes while a media node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LiveLogSettings {
    /// As [`LogSettings::level`].
    pub level: String,
}

impl Default for LiveLogSettings {
    fn default() -> Self {
        Self {
            level: LogSettings::default().level,
        }
    }
}

impl NodeConfig {
    /// Returns the settings that change while a media node runs.
    pub fn live_settings(&self) -> LiveSettings {
        LiveSettings {
            log: LiveLogSettings {
                level: self.log.level.clone(),
            },
            limits: self.limits.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Replaces the settings that change while a media node runs.
    pub fn set_live_settings(&mut self, live: LiveSettings) {
        self.log.level = live.log.level;
        self.limits = live.limits;
        self.metrics = live.metrics;
    }
}
