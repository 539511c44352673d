//! With several origins a stream is somewhere; where, no viewer has to know.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::cluster::Stage;
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    stage
        .apply_ready(
            "demo",
            json!({"origins": {"replicas": 2}, "edges": {"replicas": 2}}),
        )
        .await?;
    let mut nodes = Vec::new();
    for role in ["origin", "edge"] {
        nodes.extend(stage.reach_pods("demo", role).await?);
    }
    anyhow::ensure!(
        nodes.len() == 4,
        "expected four nodes, seen {}",
        nodes.len()
    );
    let anywhere = stage.reach_role("demo", "origin").await?;

    // One stream on each node, and one wherever the origins' Service sends it.
    let mut encoders = Vec::new();
    for (number, place) in nodes.iter().chain([&anywhere]).enumerate() {
        let stream = format!("live/stream-{number}");
        encoders.push((stage.published(&place.rtmp(&stream)).await?, stream));
    }
    for (encoder, stream) in &encoders {
        for node in &nodes {
            let mut viewer = Viewer::watch(&node.flv(stream)).await?;
            viewer.sees_more(50, Duration::from_secs(15)).await?;
            let seen = viewer.sightings();
            seen.is_well_formed()
                .and_then(|()| seen.has_no_gap())
                .and_then(|()| seen.is_only_of(encoder.film))
                .with_context(|| viewer.url().to_owned())?;
        }
    }
    for (encoder, _) in encoders {
        encoder.never_noticed()?;
    }
    Ok(())
}
