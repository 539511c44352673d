//! Support of the socket tests: media nodes on free ports, an encoder, viewers, and numbered messages.

mod audience;
mod balancer;
mod cluster;
mod flv;
mod hook_server;
mod http;
pub(crate) mod log;
mod media;
mod node;
mod process;
pub(crate) mod raw_rtmp;
mod rtmp;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub(crate) use audience::{
    Clip, Protocol, Received, Start, assert_complete, begin, cluster, ended, finish, frames,
    publish, publish_in_step, received_by_all, watch, watch_at, watch_everywhere,
};
pub(crate) use balancer::{balancer, v1, v2};
pub(crate) use cluster::{edge, edge_with, origins, origins_with, own_address};
pub(crate) use flv::FlvViewer;
pub(crate) use hook_server::hook_server;
pub(crate) use http::{RawConnection, Response, connect_from_elsewhere, request};
pub(crate) use media::{
    audio_frame, audio_header, interframe, keyframe, metadata, metadata_with, number, video_header,
};
pub(crate) use node::TestNode;
pub(crate) use process::Process;
pub(crate) use rtmp::{Publisher, RtmpViewer};

/// Limit of every wait. Nothing here takes this long, also on a host that runs other builds and tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Limit of the waits of a task where that is too short: many viewers, or large frames, of which only the content counts.
    static LONGER_DEADLINE: Duration;
}

/// Runs a task whose waits may take a minute.
pub(crate) async fn with_longer_deadline<T>(task: impl Future<Output = T>) -> T {
    LONGER_DEADLINE.scope(Duration::from_secs(60), task).await
}

/// Waits for an event, and fails when it does not occur.
pub(crate) async fn within_deadline<T>(what: &str, event: impl Future<Output = T>) -> T {
    let limit = LONGER_DEADLINE.try_with(|limit| *limit).unwrap_or(DEADLINE);
    match tokio::time::timeout(limit, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    within_deadline(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Replaces a file in one step, as the kubelet does, so that no reader finds an empty file or a part of one.
pub(crate) fn replace_file(path: &Path, content: &str) {
    // In a folder of keys, names that begin with two dots are the kubelet's own.
    let new = path.with_file_name("..new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Opens a viewer that reads nothing, and sends keyframes until the media node has disconnected it.
pub(crate) async fn assert_stalled_viewer_is_disconnected(
    node: &TestNode,
    publisher: &mut Publisher,
    http: SocketAddr,
) {
    let _viewer = FlvViewer::open(http, "/live/a.flv").await;
    within_deadline("the end of the viewer", async {
        for number in 10.. {
            publisher
                .send([keyframe(number, number * 40, 1_000_000)])
                .await;
            if node.api("/api/v1/clients").await.as_array().unwrap().len() == 1 {
                return;
            }
        }
    })
    .await;
    let metrics = node.metrics().await;
    assert!(
        metrics.contains("live_viewers_stalled_total 1"),
        "{metrics}"
    );
}
