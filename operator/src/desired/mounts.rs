//! Volumes of the Secrets, ConfigMaps and claims that the spec names. The kubelet mounts them: the operator reads none of them.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume,
    VolumeMount,
};
use livecluster_api::mount::MOUNT_DIRECTORY;
use livecluster_api::{LiveClusterSpec, Mount, MountSource};

/// Returns the volumes of a Pod.
pub(super) fn volumes(spec: &LiveClusterSpec) -> Vec<Volume> {
    spec.mounts().into_iter().map(volume).collect()
}

/// Returns where the media node's container has them.
pub(super) fn volume_mounts(spec: &LiveClusterSpec) -> Vec<VolumeMount> {
    let mounts = spec.mounts().into_iter();
    mounts
        .map(|mount| {
            read_only(
                &mount.volume,
                &format!("{MOUNT_DIRECTORY}/{}", mount.volume),
            )
        })
        .collect()
}

/// Returns where the media node's container has a volume that it only reads.
pub(super) fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Returns the volume of a ConfigMap.
pub(super) fn config_map(volume: &str, name: String) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name,
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn volume(mount: Mount) -> Volume {
    let mut volume = Volume {
        name: mount.volume,
        ..Volume::default()
    };
    match mount.source {
        MountSource::Secret(name) => {
            volume.secret = Some(SecretVolumeSource {
                secret_name: Some(name),
                ..SecretVolumeSource::default()
            });
        }
        MountSource::ConfigMap(name) => {
            volume.config_map = Some(ConfigMapVolumeSource {
                name,
                ..ConfigMapVolumeSource::default()
            });
        }
        MountSource::PersistentVolumeClaim(claim_name) => {
            volume.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name,
                read_only: Some(true),
            });
        }
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_mounted_below_the_folder_that_the_media_node_reads() {
        let spec: LiveClusterSpec = serde_json::from_value(serde_json::json!({
            "auth": {"publish": {"keys": {"secretName": "stream-keys"}}},
            "tls": {"secretName": "certificate"},
        }))
        .unwrap();
        let volumes = volumes(&spec);
        let names = volumes.iter().map(|volume| {
            let secret = volume.secret.as_ref().unwrap();
            // A Pod of which a Secret is missing does not start: no client publishes in the meantime.
            assert_eq!(secret.optional, None);
            secret.secret_name.as_deref().unwrap()
        });
        assert_eq!(names.collect::<Vec<_>>(), ["stream-keys", "certificate"]);
        let mounts = volume_mounts(&spec);
        let paths: Vec<&str> = mounts.iter().map(|mount| &*mount.mount_path).collect();
        assert_eq!(
            paths,
            [
                "/etc/media-node-mounts/auth-publish-keys",
                "/etc/media-node-mounts/tls"
            ]
        );
        assert_eq!(mounts[1].name, volumes[1].name);
    }

    #[test]
    fn claim_of_pages_is_mounted_read_only() {
        let spec: LiveClusterSpec = serde_json::from_value(serde_json::json!({
            "http": {"directory": {"persistentVolumeClaimName": "pages"}},
        }))
        .unwrap();
        let [volume] = volumes(&spec).try_into().unwrap();
        let claim = volume.persistent_volume_claim.unwrap();
        assert_eq!(
            (claim.claim_name.as_str(), claim.read_only),
            ("pages", Some(true))
        );
        assert_eq!(
            volume_mounts(&spec)[0].mount_path,
            "/etc/media-node-mounts/http-directory"
        );
    }
}
