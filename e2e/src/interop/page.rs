//! The player page in a real browser, on every node: the live stream is listed, a click plays it, `?stream=` plays at once,
//! time goes on, the picture moves, codecs and latency are shown, and nothing is asked of another host.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::nodes::Node;
use super::stage::Stage;
use crate::media::ffmpeg;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage.nodes("continuitySeconds: 5").await?;
    let clip = stage.clip("h264-aac").await?;
    let options = ["-re", "-stream_loop", "-1"];
    let home = nodes.all.last().context("an edge")?.rtmp("live/livestream");
    let _encoder = ffmpeg::publish_with("publish", &clip, &options, &home, stage.folder())?;
    let mut slowest = 0;
    for node in &nodes.all {
        for way in [Way::Click, Way::Address("http"), Way::Address("ws")] {
            let about = format!("{} {way:?}", node.name);
            let seen = open(&stage, node, way)
                .await
                .with_context(|| about.clone())?;
            check(&seen, node, way).with_context(|| format!("{about}: {seen:?}"))?;
            slowest = slowest.max(seen.started_after);
        }
    }
    nodes.stop().await?;
    Ok(format!(
        "played on {} nodes by click, by address and by WebSocket, started within {slowest} ms",
        3
    ))
}

/// How a viewer comes to a stream.
#[derive(Clone, Copy, Debug)]
enum Way {
    Click,
    /// By `?stream=`, with this transport.
    Address(&'static str),
}

/// What `watch.mjs` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    console: Vec<String>,
    requests: Vec<String>,
    failure: Option<String>,
    #[serde(default)]
    listed: Vec<String>,
    #[serde(default)]
    started_after: u64,
    first: Option<Look>,
    second: Option<Look>,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Look {
    hash: i64,
    bright: u32,
    width: u32,
    height: u32,
    time: f64,
    codecs: Option<String>,
    latency: Option<String>,
    message: Option<String>,
}

async fn open(stage: &Stage, node: &Node, way: Way) -> Result<Seen> {
    let (name, url) = match way {
        Way::Click => ("click", node.page()),
        Way::Address(transport) => (
            transport,
            format!(
                "{}?stream=live/livestream&transport={transport}",
                node.page()
            ),
        ),
    };
    let picture = stage.folder().join(format!("{}-{name}.png", node.name));
    let mut command = Command::new("node");
    command
        .arg("watch.mjs")
        .args(["/usr/bin/chromium", &url])
        .arg(Path::new(&picture));
    if matches!(way, Way::Click) {
        command.arg("/live/livestream.flv");
    }
    command.current_dir(&stage.tools.browser).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
    let output = output
        .context("the browser is still at it")?
        .context("run node")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&said)
        .with_context(|| format!("the browser's driver said {said:?} {errors:?}"))
}

fn check(seen: &Seen, node: &Node, way: Way) -> Result<()> {
    ensure!(seen.failure.is_none(), "failed");
    if matches!(way, Way::Click) {
        ensure!(
            seen.listed == ["/live/livestream.flv"],
            "the list is not that of the live streams"
        );
    }
    let (first, second) = (
        seen.first.as_ref().context("a look")?,
        seen.second.as_ref().context("a second look")?,
    );
    ensure!(second.time >= first.time + 3.0, "time does not go on");
    ensure!(first.hash != second.hash, "the picture does not move");
    ensure!(second.bright > 1000, "the picture is dark");
    ensure!(
        (second.width, second.height) == (320, 180),
        "the picture has another size"
    );
    let codecs = second.codecs.as_deref().unwrap_or_default();
    ensure!(
        codecs.contains("H.264") && codecs.contains("AAC"),
        "the codecs are not shown"
    );
    let latency = second
        .latency
        .as_deref()
        .unwrap_or_default()
        .trim_end_matches(" s")
        .parse::<f64>();
    ensure!(
        latency.is_ok_and(|seconds| seconds < 3.0),
        "the latency is not shown or too high"
    );
    ensure!(second.message.as_deref() == Some(""), "there is a message");
    let foreign = |url: &&String| {
        !["http:", "ws:"].iter().any(|scheme| {
            url.starts_with(&node.page().replace("http:", scheme)) || url.starts_with("blob:")
        })
    };
    let foreign: Vec<_> = seen.requests.iter().filter(foreign).collect();
    ensure!(foreign.is_empty(), "other hosts are asked: {foreign:?}");
    let errors: Vec<_> = seen
        .console
        .iter()
        .filter(|line| line.starts_with("error") || line.starts_with("uncaught"))
        .collect();
    ensure!(errors.is_empty(), "the console has errors: {errors:?}");
    ensure!(seen.text.is_some(), "no text");
    Ok(())
}
