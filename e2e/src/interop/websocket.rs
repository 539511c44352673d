//! WebSocket-FLV by a client that is not ours: the same bytes as by HTTP, complete binary messages, a normal close.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::instances::{Instance, Instances};
use crate::media::judge::assert_complete;
use crate::media::{ExpectedStart, Recording, ffmpeg};
use crate::process;
use crate::stage::Stage;

/// What `websocket.py` prints.
#[derive(Debug, Deserialize)]
struct Watched {
    messages: u64,
    text: u64,
    bytes: u64,
    end: Value,
}

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 3, continuitySeconds: 2";
    let instances = Instances::start(&stage, settings).await?;
    let (clip, folder) = (stage.clip("h264-aac").await?, stage.folder());
    let sent = ffmpeg::published(&clip, folder).await?;
    let (refused, _) = watch(&stage, instances.origin(), "missing").await?;
    ensure!(
        refused.end == serde_json::json!(["status", 404]),
        "a missing stream is answered by {refused:?}"
    );

    let url = instances.all[1].rtmp("live/socket");
    let mut encoder = ffmpeg::publish("publish", &clip, &url, folder)?;
    let watching = instances.all.iter();
    let watching = watching.map(|instance| watch(&stage, instance, "socket"));
    let watched = futures::future::try_join_all(watching).await?;
    encoder.success(std::time::Duration::from_secs(30)).await?;
    let mut packets = 0;
    for (watched, file) in &watched {
        packets += check(&sent, watched, file)
            .with_context(|| format!("{}: {watched:?}", file.display()))?;
    }
    instances.stop().await?;
    stage.say(format_args!(
        "{packets} packets on {} instances",
        watched.len()
    ));
    Ok(())
}

fn check(sent: &Recording, watched: &Watched, file: &Path) -> Result<usize> {
    let binary = watched.text == 0 && watched.messages > 50 && watched.bytes > 0;
    ensure!(binary, "not only binary messages");
    let normal = watched.end.get(0) == Some(&Value::from(1000));
    ensure!(normal, "no normal close");
    assert_complete(sent, &Recording::read(file)?, ExpectedStart::Keyframe)
}

/// Watches with the Python client. Returns what it printed, and the file that it wrote.
async fn watch(stage: &Stage, instance: &Instance, stream: &str) -> Result<(Watched, PathBuf)> {
    let file = stage
        .folder()
        .join(format!("{}-{stream}.flv", instance.name));
    let url = instance
        .http(&format!("live/{stream}"))
        .replace("http:", "ws:");
    let mut command = Command::new(&stage.tools.python);
    command.args(["e2e/interop/websocket.py", &url]);
    command.arg(&file).arg("60");
    let output = process::finish(&mut command, "").await?.success()?;
    let watched = serde_json::from_str(&output);
    let watched = watched.with_context(|| format!("the client printed {output:?}"))?;
    Ok((watched, file))
}
