//! WebSocket-FLV by a client that is not ours: the same bytes as by HTTP, whole messages of binary, a clean close.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use super::nodes::Node;
use super::stage::Stage;
use crate::media::comparison::{From, compare};
use crate::media::ffmpeg;
use crate::media::process;
use crate::media::recording::Recording;

#[derive(Debug, Deserialize)]
struct Said {
    messages: u64,
    text: u64,
    bytes: u64,
    end: Value,
}

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 3, continuitySeconds: 2")
        .await?;
    let clip = stage.clip("h264-aac").await?;
    let sent = ffmpeg::published(&clip, stage.folder()).await?;
    let refused = watch(&stage, nodes.origin(), "live/nobody").await?;
    ensure!(
        refused.end == serde_json::json!(["status", 404]),
        "a missing stream was answered by {refused:?}"
    );

    let mut encoder = ffmpeg::publish(
        "publish",
        &clip,
        &nodes.all[1].rtmp("live/socket"),
        stage.folder(),
    )?;
    let watching = nodes
        .all
        .iter()
        .map(|node| watch(&stage, node, "live/socket"));
    let ends = futures::future::try_join_all(watching).await?;
    encoder.success(Duration::from_secs(5)).await?;
    let mut packets = 0;
    for (node, said) in nodes.all.iter().zip(ends) {
        let about = || format!("{}: {said:?}", node.name);
        let recording = Recording::read(&file(&stage, node, "live/socket")).with_context(about)?;
        packets += compare(&sent, &recording, From::Keyframe).with_context(about)?;
        ensure!(
            said.text == 0 && said.messages > 50 && said.bytes > 0,
            "{}",
            about()
        );
        ensure!(
            said.end.get(0) == Some(&Value::from(1000)),
            "no normal close: {}",
            about()
        );
    }
    nodes.stop().await?;
    Ok(format!("{packets} packets on {} nodes", 3))
}

fn file(stage: &Stage, node: &Node, stream: &str) -> std::path::PathBuf {
    stage
        .folder()
        .join(format!("{}-{}.flv", node.name, stream.replace('/', "-")))
}

async fn watch(stage: &Stage, node: &Node, stream: &str) -> Result<Said> {
    let mut command = Command::new(&stage.tools.python);
    let url = node.http(stream).replace("http:", "ws:");
    command
        .args(["e2e/interop/websocket.py", &url])
        .arg(file(stage, node, stream))
        .arg("25");
    let said = process::run(&mut command, Duration::from_secs(40)).await?;
    serde_json::from_str(&said).with_context(|| format!("the client said {said:?}"))
}
