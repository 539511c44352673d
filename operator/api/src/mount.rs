//! What the Pods of a LiveCluster mount: the Secrets, ConfigMaps and volumes that its spec names.

/// Folder of a Pod below which they are mounted.
pub const MOUNT_DIRECTORY: &str = "/etc/media-node-mounts";

/// Something that is mounted into every Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Name of the volume, which is also its folder.
    pub volume: String,
    /// Field of the spec that names it.
    pub field: String,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A Secret of this name.
    Secret(String),
    /// A ConfigMap of this name.
    ConfigMap(String),
    /// A PersistentVolumeClaim of this name.
    PersistentVolumeClaim(String),
}
