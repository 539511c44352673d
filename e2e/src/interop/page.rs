//! The player page in real browsers, on every instance: the live stream is listed, a click plays it, also after the page is loaded again,
//! `?stream=` plays immediately, time goes on, the video moves, codecs and latency are shown, and no other host is asked for anything. Another
//! tab plays the same stream, by a URL of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde::Deserialize;
use tokio::process::Command;

use super::browser_players::Browser;
use crate::instances::{Instance, Instances};
use crate::media::{Clip, ffmpeg};
use crate::process::finish;
use crate::stage::Stage;

/// The path of a stream with a name that is not ASCII, `live/übung`.
const PATH: &str = "/live/%C3%BCbung.flv";

pub(super) async fn run(stage: Stage) -> Result<()> {
    let instances = Instances::start(&stage, "continuitySeconds: 5").await?;
    let clip = Clip {
        input_options: "-stream_loop -1",
        ..stage.clip("h264-aac").await?
    };
    let [.., edge] = &instances.all;
    let (url, folder) = (edge.rtmp("live/übung"), stage.folder());
    let _encoder = ffmpeg::publish("publish", &clip, &url, folder)?;
    let mut slowest = 0;
    let browsers = [Browser::Chromium, Browser::Chromium, Browser::Firefox];
    for (instance, browser) in instances.all.iter().zip(browsers) {
        let ways = [Way::Click, Way::Address("http"), Way::Address("ws")];
        let started = ways.map(|way| watch(&stage, instance, browser, way));
        let started = try_join_all(started).await?;
        slowest = started.into_iter().fold(slowest, u64::max);
    }
    instances.stop().await?;
    stage.say(format_args!(
        "every way to play started within {slowest} ms"
    ));
    Ok(())
}

/// Watches in a browser of its own. Returns the milliseconds until the video starts.
async fn watch(stage: &Stage, instance: &Instance, browser: Browser, way: Way) -> Result<u64> {
    let about = || format!("{} {browser:?} {way:?}", instance.name);
    let seen = open(stage, instance, browser, way);
    let seen = seen.await.with_context(about)?;
    let checked = check(&seen, instance, way);
    checked.with_context(|| format!("{}: {seen:?}", about()))?;
    Ok(seen.started_after)
}

/// How a viewer plays a stream.
#[derive(Clone, Copy, Debug)]
enum Way {
    Click,
    /// By `?stream=`, with this transport.
    Address(&'static str),
}

/// What `watch.mjs` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageReport {
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

async fn open(
    stage: &Stage,
    instance: &Instance,
    browser: Browser,
    way: Way,
) -> Result<PageReport> {
    let page = instance.page();
    let (name, url) = match way {
        Way::Click => ("click", page),
        Way::Address(transport) => {
            let query = format!("?stream=live/%C3%BCbung&transport={transport}");
            (transport, page + &query)
        }
    };
    let screenshot = format!("{}-{name}.png", instance.name);
    let screenshot = stage.folder().canonicalize()?.join(screenshot);
    let mut command = Command::new("node");
    command
        .args(["watch.mjs", browser.name(), &url])
        .arg(screenshot);
    if matches!(way, Way::Click) {
        command.arg(PATH);
    }
    command.current_dir(&stage.tools.browser);
    let limit = Duration::from_secs(240);
    let ended = tokio::time::timeout(limit, finish(&mut command, "")).await;
    let ended = ended
        .context("the browser is not done")?
        .context("run node")?;
    serde_json::from_str(&ended.stdout)
        .with_context(|| format!("the browser's driver printed {ended:?}"))
}

fn check(seen: &PageReport, instance: &Instance, way: Way) -> Result<()> {
    ensure!(seen.failure.is_none(), "failed");
    let listed = seen.listed == [PATH];
    let click = matches!(way, Way::Click);
    ensure!(listed || !click, "the list is not that of the live streams");
    let first = seen.first.as_ref().context("a look")?;
    let second = seen.second.as_ref().context("a second look")?;
    ensure!(second.time >= first.time + 3.0, "time does not go on");
    ensure!(first.hash != second.hash, "the video does not move");
    ensure!(second.bright > 1000, "the video is dark");
    let size = (second.width, second.height);
    ensure!(size == (320, 180), "the video has another size");
    let codecs = second.codecs.as_deref().unwrap_or_default();
    let shown = codecs.contains("H.264") && codecs.contains("AAC");
    ensure!(shown, "the codecs are not shown");
    let latency = second.latency.as_deref().unwrap_or_default();
    let latency = latency.trim_end_matches(" s").parse::<f64>();
    let low = latency.is_ok_and(|seconds| seconds < 3.0);
    ensure!(low, "the latency is not shown or too high");
    ensure!(second.message.as_deref() == Some(""), "there is a message");
    let own = [
        "blob:".to_owned(),
        "data:".to_owned(),
        instance.page(),
        instance.page().replace("http:", "ws:"),
    ];
    let foreign = |url: &&String| !own.iter().any(|own| url.starts_with(own));
    let foreign: Vec<_> = seen.requests.iter().filter(foreign).collect();
    ensure!(foreign.is_empty(), "other hosts are asked: {foreign:?}");
    if let Way::Address("http") = way {
        let mut streams: Vec<_> = seen
            .requests
            .iter()
            .filter(|url| url.contains(PATH))
            .collect();
        let players = streams.len();
        streams.sort();
        streams.dedup();
        let differ = players > 1 && streams.len() == players;
        ensure!(differ, "the URLs of the tabs do not differ: {streams:?}");
    }
    let is_error = |line: &&String| line.starts_with("error") || line.starts_with("uncaught");
    let errors: Vec<_> = seen.console.iter().filter(is_error).collect();
    ensure!(errors.is_empty(), "the console has errors: {errors:?}");
    ensure!(seen.text.is_some(), "no text");
    Ok(())
}
