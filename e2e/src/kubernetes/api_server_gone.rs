//! Streams do not depend on Kubernetes: without the API server, and so without an operator that can do anything, they go on and new
//! ones start. The operator recovers by itself.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::cluster::{Namespace, STREAM};
use crate::media::{Encoder, Viewer};
use crate::wait::MEDIA;

/// Longer than the lease of the operator's leader, and than the one that a node renews.
const STOPPED: Duration = Duration::from_secs(45);

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let cluster = &namespace.cluster;
    namespace.apply_ready("demo", json!({})).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &origin, &edge).await?;

    namespace.say(format_args!("the API server is stopped for {STOPPED:?}"));
    namespace.repaired_by(|it| async move { it.cluster.start_api_server().await });
    cluster.stop_api_server().await?;
    stream.assert_goes_on(STOPPED).await?;
    // New streams and viewers need no API: names, addresses and routes are all there.
    let second = Encoder::publish(&edge.rtmp("live/second")).await?;
    let mut late = Viewer::watch(&origin.rtmp("live/second")).await?;
    late.sees_more(50, MEDIA).await?;
    second.assert_undisturbed()?;
    namespace.repair().await?;
    namespace.assert_operator_works("demo", "back").await?;
    stream.assert_uninterrupted()
}
