//! HTTP as curl, proxies and browsers use it: versions, HEAD, CORS with preflight, and an answer in time where there is no stream.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::instances::{Instance, Instances};
use crate::media::{Viewer, ffmpeg};
use crate::process::{self, Finished};
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 2, continuitySeconds: 5";
    let instances = Instances::start(&stage, settings).await?;
    let clip = stage.clip("h264-aac").await?;
    let (origin, folder) = (instances.origin(), stage.folder());
    let url = origin.rtmp("live/livestream");
    let _encoder = ffmpeg::publish_with("-stream_loop -1", "publish", &clip, &url, folder)?;
    let mut viewer = Viewer::start(&origin.http("live/livestream"));
    viewer.sees_more(1, Duration::from_secs(10)).await?;
    let mut slowest = Duration::ZERO;
    for instance in &instances.all {
        let answers = async {
            headers(instance).await?;
            body(&stage, instance).await?;
            missing(instance).await
        };
        slowest = slowest.max(answers.await.context(instance.name)?);
    }
    instances.stop().await?;
    stage.say(format_args!("404 came within {slowest:?}, limit 2 s"));
    Ok(())
}

/// Runs curl with a line that is split at spaces, and further headers.
async fn curl(line: &str, headers: &[&str]) -> Result<Finished> {
    let mut command = process::command(&format!("curl --silent --show-error {line}"));
    for header in headers {
        command.args(["-H", header]);
    }
    process::finish(&mut command, "").await
}

/// Returns the response headers that curl prints, in lower case.
async fn headers_of(line: &str, headers: &[&str]) -> Result<String> {
    let printed = curl(&format!("--max-time 10 {line}"), headers).await?;
    Ok(printed
        .success()
        .context(line.to_owned())?
        .to_ascii_lowercase())
}

fn assert_has(headers: &str, expected: &[&str]) -> Result<()> {
    for line in expected {
        let mut lines = headers.lines();
        let found = lines.any(|found| found.trim_end().starts_with(line));
        ensure!(found, "no {line:?} in\n{headers}");
    }
    Ok(())
}

async fn headers(instance: &Instance) -> Result<()> {
    let url = instance.http("live/livestream");
    let head = headers_of(&format!("--head {url}"), &[]).await?;
    let flv = [
        "http/1.1 200",
        "content-type: video/x-flv",
        "cache-control: no",
    ];
    assert_has(&head, &flv)?;

    let origin = "Origin: https://example.org";
    let cors = headers_of(&format!("--head {url}"), &[origin]).await?;
    assert_has(&cors, &["http/1.1 200", "access-control-allow-origin: "])?;

    let requested = [
        origin,
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: range",
    ];
    let preflight = headers_of(&format!("-i -X OPTIONS {url}"), &requested).await?;
    let status = preflight.split(' ').nth(1).unwrap_or_default();
    ensure!(["200", "204"].contains(&status), "preflight: {preflight}");
    let allowed = [
        "access-control-allow-origin: ",
        "access-control-allow-methods: ",
    ];
    assert_has(&preflight, &allowed)
}

async fn body(stage: &Stage, instance: &Instance) -> Result<()> {
    let url = instance.http("live/livestream");
    for version in ["--http1.0", "--http1.1"] {
        let file = stage
            .folder()
            .join(format!("{}{version}.flv", instance.name));
        let shown = file.display();
        let line = format!("{version} --max-time 2 --dump-header - --output {shown} {url}");
        let ended = curl(&line, &[]).await?;
        let headers = ended.stdout.to_ascii_lowercase();
        // curl ends at --max-time with exit code 28: the stream does not end.
        let status = ended.status;
        ensure!(
            status.code() == Some(28),
            "{version}: curl ended with {status} and {headers}"
        );
        assert_has(&headers, &["http/1.", "content-type: video/x-flv"])?;
        let length = headers.contains("content-length");
        ensure!(!length, "a live stream has no length: {headers}");
        let chunked = headers.contains("transfer-encoding: chunked");
        let expected = version == "--http1.1";
        ensure!(chunked == expected, "only HTTP/1.1 has chunks: {headers}");
        let body = std::fs::read(&file).context("read the body")?;
        let starts = body.starts_with(b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12");
        ensure!(
            starts,
            "{version}: no FLV header with both tracks and metadata"
        );
    }
    Ok(())
}

/// Asks for what is not there. Returns how long the slowest answer for a missing stream took.
async fn missing(instance: &Instance) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    let url = instance.http("live/nobody");
    for method in ["-i", "--head"] {
        let start = Instant::now();
        let headers = headers_of(&format!("{method} {url}"), &[]).await?;
        assert_has(&headers, &["http/1.1 404"])?;
        let took = start.elapsed();
        ensure!(took < Duration::from_secs(4), "404 came after {took:?}");
        slowest = slowest.max(took);
    }
    let page = instance.page();
    let headers = headers_of(&format!("-i {page}live/livestream.mp4"), &[]).await?;
    assert_has(&headers, &["http/1.1 404"])?;
    let url = instance.http("live/livestream");
    let headers = headers_of(&format!("-i -X DELETE {url}"), &[]).await?;
    assert_has(&headers, &["http/1.1 405", "allow: "])?;
    Ok(slowest)
}
