//! With two origins, every Pod serves every stream: viewers need not find out which origin has it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster::Namespace;
use crate::media::Viewer;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let spec = json!({"origins": {"replicas": 2}, "edges": {"replicas": 2}});
    namespace.apply_ready("demo", spec).await?;
    let mut pods = namespace.reach_pods("demo", "origin").await?;
    pods.extend(namespace.reach_pods("demo", "edge").await?);
    ensure!(pods.len() == 4, "expected four Pods, seen {pods:?}");
    let service = namespace.reach_role("demo", "origin").await?;

    // One stream on each Pod, and one wherever the origins' Service sends it.
    let mut encoders = Vec::new();
    for (number, place) in pods.iter().chain([&service]).enumerate() {
        let stream = format!("live/stream-{number}");
        let encoder = namespace.published(&place.rtmp(&stream)).await?;
        encoders.push((encoder, stream));
    }
    for (encoder, stream) in &encoders {
        for pod in &pods {
            let mut viewer = Viewer::watch(&pod.http(stream)).await?;
            viewer.sees_more(50, Duration::from_secs(15)).await?;
            viewer.assert_uninterrupted(encoder)?;
        }
    }
    let mut encoders = encoders.iter();
    encoders.try_for_each(|(encoder, _)| encoder.assert_undisturbed())
}
