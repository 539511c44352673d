//! What the socket tests share: a node on free ports, an encoder, viewers, and pictures that can be told apart.

mod cluster;
mod flv;
mod http;
mod media;
mod node;
mod rtmp;

use std::time::Duration;

pub(crate) use cluster::{edge, origins};
pub(crate) use flv::FlvViewer;
pub(crate) use http::{Answer, Wire, request};
pub(crate) use media::{audio_header, keyframe, metadata, number, picture, sound, video_header};
pub(crate) use node::TestNode;
pub(crate) use rtmp::{Publisher, RtmpViewer};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come in {DEADLINE:?}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
