//! A wrong image stops nothing that runs: the status says what is wrong, and the right image repairs it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use livecluster_api::LiveCluster;
use livecluster_api::conditions::{PROGRESSING, READY};
use serde_json::json;

use crate::cluster::{Namespace, STREAM, condition, describe};
use crate::media::Viewer;
use crate::wait::{DEADLINE, MEDIA, eventually, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.apply_ready("demo", json!({})).await?;
    let image = namespace.status("demo").await?.image;
    let image = image.context("no image in the status")?;
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let encoder = namespace.published(&origin.rtmp(STREAM)).await?;
    let urls = [edge.http(STREAM), edge.rtmp(STREAM)];
    let mut viewers = namespace.all_watched(&urls).await?;

    namespace.say("an image that does not exist");
    let wrong = json!({"image": "livecluster.dev/nothing:none"});
    namespace.edit("demo", wrong).await?;
    assert_progressing_names_image(&namespace).await?;
    let all_serve = "all Pods of the old image serve";
    holds(all_serve, Duration::from_secs(20), || async {
        viewers.iter().try_for_each(Viewer::assert_connected)?;
        let status = namespace.status("demo").await?;
        let ready = (status.origins.ready_replicas, status.edges.ready_replicas);
        ensure!(ready == (1, 2), "{ready:?} origins and edges are ready");
        Ok(())
    })
    .await?;
    let late = namespace.watched(&edge.http(STREAM)).await?;
    drop(late);

    namespace.say("the right image again");
    namespace.edit("demo", json!({"image": image})).await?;
    let repaired = namespace.until_condition("demo", PROGRESSING, "False", DEADLINE);
    let repaired = repaired.await?;
    let ready = condition(&repaired, READY).is_some_and(|it| it.status == "True");
    ensure!(ready, "{}", describe(&repaired));
    encoder.assert_undisturbed()?;
    Viewer::all_see_more(&mut viewers, 25, MEDIA).await?;
    let mut viewers = viewers.iter();
    viewers.try_for_each(|viewer| viewer.assert_uninterrupted(&encoder))
}

async fn assert_progressing_names_image(namespace: &Namespace) -> Result<()> {
    let expected = "the condition Progressing names livecluster.dev/nothing";
    eventually(expected, DEADLINE, || async {
        let cluster: LiveCluster = namespace.get("demo").await?;
        let message = condition(&cluster, PROGRESSING).map_or("", |it| &it.message);
        let named = message.contains("Image") && message.contains("livecluster.dev/nothing");
        ensure!(named, "{}", describe(&cluster));
        Ok(())
    })
    .await
}
