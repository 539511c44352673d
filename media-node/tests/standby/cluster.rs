//! Backup encoders at different media nodes of a cluster.

use super::encoders::{Feed, Spliced, source};
use super::{standby, standby_soon, standbys, timings};
use crate::support::{TestNode, edge_with, eventually, origins_with};

/// Asserts that an encoder at `backup` stands by for the one at `main`, and replaces it when that disconnects.
async fn assert_backup(stream: &str, main: &TestNode, backup: &TestNode) {
    let first = Feed::start(main, stream, 0).await;
    let mut viewers = [
        Spliced::watch(main, stream).await,
        Spliced::watch(backup, stream).await,
    ];
    for viewer in &mut viewers {
        viewer.until(source(0)).await;
    }
    let before = standbys(backup).await;
    let _second = Feed::start(backup, stream, 1).await;
    assert_eq!(standbys(backup).await, before + 1);
    drop(first);
    for viewer in &mut viewers {
        viewer.until(source(1)).await;
    }
}

#[tokio::test]
async fn encoder_stands_by_at_any_media_node() {
    let origins = origins_with::<2>(timings(), standby).await;
    let edges = [
        edge_with(&origins, timings(), standby).await,
        edge_with(&origins, timings(), standby).await,
    ];
    assert_backup("live/a", &edges[0], &edges[1]).await;
    assert_backup("live/b", &origins[0], &origins[1]).await;
    assert_backup("live/c", &edges[0], &origins[1]).await;
    assert_backup("live/d", &origins[0], &edges[1]).await;
    assert_backup("live/e", &edges[0], &edges[0]).await;
}

#[tokio::test]
async fn higher_priority_at_another_origin_is_on_air_until_its_origin_is_lost() {
    let [one, two] = origins_with::<2>(timings(), standby_soon).await;
    let _first = Feed::start(&one, "live/a?priority=1", 0).await;
    let mut viewer = Spliced::watch(&one, "live/a").await;
    viewer.until(source(0)).await;
    let second = Feed::start(&two, "live/a?priority=2", 1).await;
    viewer.until(source(1)).await;
    eventually("one standby", async || {
        (standbys(&one).await, standbys(&two).await) == (1, 0)
    })
    .await;
    drop((two, second));
    viewer.until(source(0)).await;
}
