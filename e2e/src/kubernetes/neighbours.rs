//! LiveClusters side by side, with names that are easily mixed up, share nothing.

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::cluster::{Namespace, Reach};
use crate::media::Viewer;
use crate::wait::MEDIA;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let other = namespace.create_other("2").await?;
    side_by_side(&namespace, &other).await
}

async fn side_by_side(namespace: &Namespace, other: &Namespace) -> Result<()> {
    let small = json!({"edges": {"replicas": 1}});
    let places = [(namespace, "x"), (namespace, "x-origin"), (other, "x")];
    for (namespace, name) in places {
        namespace.apply(name, small.clone()).await?;
    }
    let mut clusters: Vec<(Reach, Reach)> = Vec::new();
    for (namespace, name) in places {
        namespace.ready(name).await?;
        let origin = namespace.reach_role(name, "origin").await?;
        clusters.push((origin, namespace.reach_role(name, "edge").await?));
    }
    let mut encoders = Vec::new();
    for (origin, _) in &clusters {
        let url = origin.rtmp("live/same-name");
        encoders.push(namespace.published(&url).await?);
    }
    for ((_, edge), encoder) in clusters.iter().zip(&encoders) {
        let url = edge.http("live/same-name");
        let mut viewer = namespace.watched(&url).await?;
        viewer.sees_more(50, MEDIA).await?;
        // Any frame of another encoder would be an interruption.
        viewer.assert_uninterrupted(encoder)?;
    }
    // What only the first one has is in no other.
    let [(first, _), others @ ..] = clusters.as_slice() else {
        bail!("no clusters");
    };
    let _only = namespace.published(&first.rtmp("live/only-here")).await?;
    for (_, edge) in others {
        let url = edge.http("live/only-here");
        let Err(refused) = Viewer::watch(&url).await else {
            bail!("{url}: expected a 404, as only its neighbour has the stream");
        };
        let refused = format!("{refused:#}");
        ensure!(refused.contains("404"), "expected a 404, seen {refused}");
    }
    Ok(())
}
