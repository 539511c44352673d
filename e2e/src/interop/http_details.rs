//! HTTP as curl, proxies and browsers speak it: versions, HEAD, CORS with preflight, and an answer in time where there is no
//! stream.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::nodes::Node;
use super::stage::Stage;
use crate::media::ffmpeg;
use crate::media::process;
use crate::media::viewer::Viewer;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let nodes = stage
        .nodes("playWaitSeconds: 2, continuitySeconds: 5")
        .await?;
    let clip = stage.clip("h264-aac").await?;
    let url = nodes.origin().rtmp("live/livestream");
    let options = ["-re", "-stream_loop", "-1"];
    let _encoder = ffmpeg::publish_with("publish", &clip, &options, &url, stage.folder())?;
    let mut viewer = Viewer::http(&nodes.origin().http("live/livestream"));
    viewer
        .until("a packet", Duration::from_secs(10), |seen| {
            seen.first.is_some()
        })
        .await?;
    let mut slowest = Duration::ZERO;
    for node in &nodes.all {
        answers(&stage, node)
            .await
            .with_context(|| node.name.clone())?;
        slowest = slowest.max(missing(node).await.with_context(|| node.name.clone())?);
    }
    nodes.stop().await?;
    Ok(format!(
        "missing streams were refused within {slowest:?}, limit 2 s"
    ))
}

/// What curl printed: the head of the answer, and the body's first bytes in a file.
async fn curl(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "10"])
        .args(arguments);
    let head = process::run(&mut command, Duration::from_secs(15)).await?;
    Ok(head.to_ascii_lowercase())
}

fn has(head: &str, lines: &[&str]) -> Result<()> {
    for line in lines {
        ensure!(
            head.lines().any(|found| found.trim_end().starts_with(line)),
            "no {line:?} in\n{head}"
        );
    }
    Ok(())
}

async fn answers(stage: &Stage, node: &Node) -> Result<()> {
    let url = node.http("live/livestream");
    let head = curl(&["--head", &url]).await.context("HEAD")?;
    has(
        &head,
        &[
            "http/1.1 200",
            "content-type: video/x-flv",
            "cache-control: no",
        ],
    )?;

    let origin = "Origin: https://example.org";
    let head = curl(&["--head", "-H", origin, &url])
        .await
        .context("CORS")?;
    has(&head, &["http/1.1 200", "access-control-allow-origin: "])?;

    let wish = [
        "-H",
        "Access-Control-Request-Method: GET",
        "-H",
        "Access-Control-Request-Headers: range",
    ];
    let head = curl(&[&["-i", "-X", "OPTIONS", "-H", origin][..], &wish, &[&url]].concat())
        .await
        .context("preflight")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(
        ["200", "204"].contains(&status),
        "preflight answered {head}"
    );
    has(
        &head,
        &[
            "access-control-allow-origin: ",
            "access-control-allow-methods: ",
        ],
    )?;

    for version in ["--http1.0", "--http1.1"] {
        let file = stage.folder().join(format!("{}{version}.flv", node.name));
        let file = file.to_str().context("a name")?;
        // curl ends at --max-time with exit code 28: the stream does not end.
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--max-time",
            "2",
            version,
            "--dump-header",
            "-",
            "--output",
            file,
            &url,
        ]);
        let output = command.output().await.context("run curl")?;
        let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        ensure!(
            output.status.code() == Some(28),
            "{version}: curl ended with {} and {head}",
            output.status
        );
        has(&head, &["http/1.", "content-type: video/x-flv"])?;
        ensure!(
            !head.contains("content-length"),
            "a live stream has no length: {head}"
        );
        let chunked = head.contains("transfer-encoding: chunked");
        ensure!(
            chunked == (version == "--http1.1"),
            "HTTP/1.1 gets chunks, HTTP/1.0 knows none: {head}"
        );
        let body = std::fs::read(file).context("read the body")?;
        ensure!(
            body.starts_with(b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12"),
            "{version}: no FLV header with both tracks and metadata"
        );
    }
    Ok(())
}

/// How long the slowest answer took for a stream that is not there.
async fn missing(node: &Node) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for method in [&["-i"][..], &["--head"]] {
        let began = Instant::now();
        let url = node.http("live/nobody");
        let head = curl(&[method, &[&url]].concat()).await?;
        has(&head, &["http/1.1 404"])?;
        ensure!(
            began.elapsed() < Duration::from_secs(4),
            "404 came after {:?}",
            began.elapsed()
        );
        slowest = slowest.max(began.elapsed());
    }
    let head = curl(&["-i", &format!("{}live/livestream.mp4", node.page())]).await?;
    has(&head, &["http/1.1 404"])?;
    let head = curl(&["-i", "-X", "DELETE", &node.http("live/livestream")]).await?;
    has(&head, &["http/1.1 405", "allow: "])?;
    Ok(slowest)
}
