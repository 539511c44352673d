//! Streams do not depend on Kubernetes: without the API server, or without the operator, they go on and new ones start. The operator
//! recovers by itself.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::cluster::Namespace;
use crate::media::{Encoder, Viewer};
use crate::wait::holds;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let cluster = &namespace.cluster;
    namespace.apply_ready("demo", json!({})).await?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let encoder = namespace.published(&origin.rtmp(STREAM)).await?;
    let viewer = namespace.watched(&edge.http(STREAM)).await?;

    namespace.say("the API server is stopped for a minute");
    cluster.api_server(false).await?;
    let stopped = async {
        holds("the stream goes on", Duration::from_secs(60), || async {
            viewer.assert_connected()?;
            encoder.assert_undisturbed()
        })
        .await?;
        // New streams and viewers need no API: names, addresses and routes are all there.
        let second = Encoder::publish(&edge.rtmp("live/second")).await?;
        let mut late = Viewer::watch(&origin.rtmp("live/second")).await?;
        late.sees_more(50, Duration::from_secs(10)).await?;
        second.assert_undisturbed()
    };
    let result = stopped.await;
    cluster.api_server(true).await?;
    result?;
    namespace.assert_operator_works("demo", "back").await?;

    namespace.say("the operator is scaled to none");
    let (system, deployment) = (&cluster.release.namespace, cluster.release.deployment());
    let stopped = async {
        cluster.scale(system, &deployment, 0).await?;
        let third = Encoder::publish(&edge.rtmp("live/third")).await?;
        let watching = namespace.watched(&origin.http("live/third")).await?;
        watching.assert_connected()?;
        third.assert_undisturbed()
    };
    let result = stopped.await;
    // Other scenarios need the operator, also when this one fails.
    cluster.scale(system, &deployment, 2).await?;
    result?;
    namespace.assert_operator_works("demo", "again").await?;

    encoder.assert_undisturbed()?;
    viewer.assert_connected()?;
    viewer.assert_uninterrupted(&encoder)
}

const STREAM: &str = "live/livestream";
