//! Volumes of the Secrets and ConfigMaps that `spec.auth` names. The kubelet mounts them: the operator reads none of them.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, SecretVolumeSource, Volume, VolumeMount};
use livecluster_api::auth::AUTH_DIRECTORY;
use livecluster_api::{AuthMount, AuthSpec, MountSource};

/// Returns the volumes of a Pod.
pub(super) fn volumes(auth: &AuthSpec) -> Vec<Volume> {
    auth.mounts().into_iter().map(volume).collect()
}

/// Returns where the media node's container has them.
pub(super) fn volume_mounts(auth: &AuthSpec) -> Vec<VolumeMount> {
    let mounts = auth.mounts().into_iter();
    mounts
        .map(|mount| VolumeMount {
            mount_path: format!("{AUTH_DIRECTORY}/{}", mount.volume),
            name: mount.volume,
            read_only: Some(true),
            ..VolumeMount::default()
        })
        .collect()
}

fn volume(mount: AuthMount) -> Volume {
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
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_mounted_below_the_folder_that_the_media_node_reads() {
        let auth: AuthSpec = serde_json::from_value(serde_json::json!({
            "publish": {"keys": {"secretName": "stream-keys"}},
        }))
        .unwrap();
        let volumes = volumes(&auth);
        let secret = volumes[0].secret.as_ref().unwrap();
        assert_eq!(secret.secret_name.as_deref(), Some("stream-keys"));
        // A Pod of which a Secret is missing does not start: nobody publishes in the meantime.
        assert_eq!(secret.optional, None);
        let mounts = volume_mounts(&auth);
        assert_eq!(mounts[0].name, volumes[0].name);
        assert_eq!(
            mounts[0].mount_path,
            "/etc/media-node-auth/auth-publish-keys"
        );
    }
}
