//! The HTTP port: `spec.http`, and what follows from it for a media node.

use std::path::Path;

use media_config::{CorsSettings, HttpSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountSource};
use crate::rule::Rule;

/// Volume of the pages.
const VOLUME: &str = "http-directory";

/// HTTP port of the Pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpSpec {
    /// Which pages of other sites may play streams.
    pub cors: CorsSettings,
    /// Files that are served beside the streams, to every client. Changing a file takes effect without a rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectorySpec>,
}

/// Files that are served beside the streams: exactly one of `configMapName` and `persistentVolumeClaimName`. `index.html`
/// replaces the player page.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = DIRECTORY_RULES))]
pub struct DirectorySpec {
    /// ConfigMap whose entries are the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: Option<String>,
    /// PersistentVolumeClaim with the files, which all Pods mount read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub persistent_volume_claim_name: Option<String>,
}

impl HttpSpec {
    /// Returns the settings of a media node whose mounts are folders of `root`.
    pub fn settings(&self, root: &Path) -> HttpSettings {
        HttpSettings {
            cors: self.cors.clone(),
            directory: self.directory.as_ref().map(|_| root.join(VOLUME)),
        }
    }

    /// Returns what is mounted for the pages.
    pub fn mounts(&self) -> Vec<Mount> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        let config_map = directory
            .config_map_name
            .clone()
            .map(MountSource::ConfigMap);
        let claim = directory.persistent_volume_claim_name.clone();
        let claim = claim.map(MountSource::PersistentVolumeClaim);
        let sources = [
            ("configMapName", config_map),
            ("persistentVolumeClaimName", claim),
        ];
        let mount = |(field, source): (&str, Option<MountSource>)| {
            Some(Mount {
                volume: VOLUME.to_owned(),
                field: format!("spec.http.directory.{field}"),
                source: source?,
            })
        };
        sources.into_iter().filter_map(mount).collect()
    }
}

/// Rule of the folder of pages.
pub(crate) const DIRECTORY_RULES: [Rule<DirectorySpec>; 1] = [Rule {
    rule: "has(self.configMapName) != has(self.persistentVolumeClaimName)",
    message: "directory needs exactly one of configMapName and persistentVolumeClaimName",
    holds: Some(|directory| {
        directory.config_map_name.is_some() != directory.persistent_volume_claim_name.is_some()
    }),
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_mounted_where_the_media_node_reads_them() {
        let spec: HttpSpec =
            serde_json::from_value(serde_json::json!({"directory": {"configMapName": "pages"}}))
                .unwrap();
        let [mount] = spec.mounts().try_into().unwrap();
        assert_eq!(mount.source, MountSource::ConfigMap("pages".to_owned()));
        assert_eq!(mount.field, "spec.http.directory.configMapName");
        let directory = spec.settings(Path::new("/a")).directory;
        assert_eq!(directory, Some(Path::new("/a").join(mount.volume)));
    }

    #[test]
    fn without_pages_nothing_is_mounted() {
        let spec = HttpSpec::default();
        assert_eq!(spec.settings(Path::new("/a")), HttpSettings::default());
        assert!(spec.mounts().is_empty());
    }
}
