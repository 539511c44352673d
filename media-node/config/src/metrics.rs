//! Metrics of a media node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics of a media node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct MetricsSettings {
    /// Maximum number of streams on a Pod that have metrics of their own: bitrate, frame rate, keyframe interval and viewers,
    /// labelled by the stream's name. Of more streams, those that were published first have them. 0 is none: encoders choose the
    /// names, and each one adds time series to Prometheus.
    #[schemars(range(max = 1000))]
    pub streams: u32,
}

impl MetricsSettings {
    /// Returns the maximum number of streams that have metrics of their own.
    pub fn max_streams(&self) -> usize {
        usize::try_from(self.streams).unwrap_or(usize::MAX)
    }
}
