//! The slate: `spec.slate`, and what follows from it for a media node.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mount::{Mount, MountSource};

/// Volume of the clip.
const VOLUME: &str = "slate";

/// Clip that viewers watch while a stream waits for an encoder, for `stream.continuitySeconds`. Give it the codec settings of the
/// encoders.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlateSpec {
    /// ConfigMap with the clip, under `binaryData`: an FLV file that begins with a keyframe and lasts between a second and ten
    /// minutes.
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: String,
    /// Name of the clip in the ConfigMap.
    #[serde(default = "default_key")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[-_A-Za-z0-9][-._A-Za-z0-9]*$")
    )]
    pub key: String,
}

fn default_key() -> String {
    "slate.flv".to_owned()
}

impl SlateSpec {
    /// Returns the file that a media node reads whose mounts are folders of `root`.
    pub fn file(&self, root: &Path) -> PathBuf {
        root.join(VOLUME).join(&self.key)
    }

    /// Returns what is mounted for the clip.
    pub fn mount(&self) -> Mount {
        Mount {
            volume: VOLUME.to_owned(),
            field: "spec.slate.configMapName".to_owned(),
            source: MountSource::ConfigMap(self.config_map_name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_is_mounted_where_the_media_node_reads_it() {
        let spec = serde_json::json!({"configMapName": "clips"});
        let slate: SlateSpec = serde_json::from_value(spec).unwrap();
        let mount = slate.mount();
        assert_eq!(mount.source, MountSource::ConfigMap("clips".to_owned()));
        let folder = Path::new("/a").join(mount.volume);
        assert_eq!(slate.file(Path::new("/a")), folder.join("slate.flv"));
    }
}
