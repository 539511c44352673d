//! Clusters that live side by side, with names that are easily mixed up, know nothing of one another.

use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::cluster::{Reach, Stage};
use crate::live::Viewer;

pub(super) async fn run(stage: Stage) -> anyhow::Result<()> {
    let elsewhere = stage.elsewhere(&format!("{}-2", stage.namespace));
    let namespaces: Api<Namespace> = Api::all(stage.cluster.client.clone());
    let namespace = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere.namespace},
    }))?;
    if namespaces.get_opt(&elsewhere.namespace).await?.is_none() {
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
    }
    let result = side_by_side(&stage, &elsewhere).await;
    namespaces
        .delete(&elsewhere.namespace, &DeleteParams::background())
        .await?;
    result
}

async fn side_by_side(stage: &Stage, elsewhere: &Stage) -> anyhow::Result<()> {
    let small = json!({"edges": {"replicas": 1}});
    let places = [(stage, "x"), (stage, "x-origin"), (elsewhere, "x")];
    for (stage, name) in places {
        stage.apply(name, small.clone()).await?;
    }
    let mut clusters: Vec<(Reach, Reach)> = Vec::new();
    for (stage, name) in places {
        stage.ready(name).await?;
        let origin = stage.reach_role(name, "origin").await?;
        clusters.push((origin, stage.reach_role(name, "edge").await?));
    }
    let mut encoders = Vec::new();
    for (origin, _) in &clusters {
        encoders.push(stage.published(&origin.rtmp("live/same-name")).await?);
    }
    for ((_, edge), encoder) in clusters.iter().zip(&encoders) {
        let mut viewer = stage.watched(&edge.flv("live/same-name")).await?;
        viewer.sees_more(50, Duration::from_secs(10)).await?;
        viewer.sightings().is_only_of(encoder.film)?;
    }
    // What only the first one has is nowhere else.
    let [(first, _), others @ ..] = clusters.as_slice() else {
        bail!("no clusters");
    };
    let _alone = stage.published(&first.rtmp("live/only-here")).await?;
    for (_, edge) in others {
        let Err(refused) = Viewer::watch(&edge.flv("live/only-here")).await else {
            bail!(
                "expected a 404 from {}, as only its neighbour has the stream; seen the stream",
                edge.http
            );
        };
        ensure!(
            format!("{refused:#}").contains("404"),
            "expected a 404 from {}, seen {refused:#}",
            edge.http
        );
    }
    Ok(())
}
