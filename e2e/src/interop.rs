//! Real encoders, players and a browser against the nodes of `livecluster local`: `e2e/run interop`.
//!
//! One scenario, one file, named by what it proves. Each starts nodes of its own, so none depends on another.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;

use crate::media::clip::Ffmpegs;
use crate::retry::once_more;

mod audience;
mod crowd;
mod encoder_loop;
mod every_packet;
mod frozen_encoder;
mod hostile_bytes;
mod http_details;
mod large_pictures;
pub mod nodes;
mod page;
mod rtmpdump;
mod slow_viewer;
pub mod stage;
mod takeover;
mod timestamps;
mod websocket;

use stage::Stage;

/// What `e2e interop` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Scenarios to run; all, when none is named.
    names: Vec<String>,
    /// Says what there is to run.
    #[arg(long)]
    list: bool,
    /// Tries scenarios that failed once more.
    #[arg(long)]
    retry: bool,
    /// Folder of the compiled operator and media-node.
    #[arg(long, default_value = "target/e2e")]
    binaries: PathBuf,
    /// Debian's ffmpeg, 5.1.
    #[arg(long, default_value = "ffmpeg")]
    debian_ffmpeg: PathBuf,
    /// An ffmpeg that speaks Enhanced RTMP.
    #[arg(long, default_value = "ffmpeg")]
    newest_ffmpeg: PathBuf,
    /// A Python that has the package websockets.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Folder of the browser's driver.
    #[arg(long, default_value = "e2e/browser")]
    browser: PathBuf,
    /// Where logs, films and screenshots go.
    #[arg(long, default_value = "e2e/out/interop")]
    out: PathBuf,
}

/// Something to be proven. What it returns is one line of what it measured.
struct Scenario {
    name: &'static str,
    proves: &'static str,
    run: fn(Stage) -> BoxFuture<'static, Result<String>>,
}

macro_rules! scenarios {
    ($($module:ident, $name:literal, $proves:literal;)*) => {
        const SCENARIOS: &[Scenario] = &[
            $(Scenario { name: $name, proves: $proves, run: |stage| Box::pin($module::run(stage)) },)*
        ];
    };
}

scenarios! {
    every_packet, "every-packet", "each codec, published to each node, comes whole out of every node by RTMP and HTTP-FLV";
    rtmpdump, "rtmpdump", "librtmp shakes hands by digest and plays from every node";
    http_details, "http-details", "HTTP versions, HEAD, CORS with preflight, and 404 in time";
    websocket, "websocket", "WebSocket-FLV by another's client: whole, and closed well";
    encoder_loop, "encoder-loop", "an encoder that ends and comes back, five times, is one film for those who watch";
    takeover, "takeover", "a second encoder takes over anywhere, or is refused";
    frozen_encoder, "frozen-encoder", "an encoder that freezes is waited for, then closed, and its name is free";
    timestamps, "timestamps", "time runs over 2^24, 2^31 and 2^32 milliseconds";
    large_pictures, "large-pictures", "keyframes of megabytes and groups of pictures without end";
    slow_viewer, "slow-viewer", "a viewer that stops reading goes on at a keyframe and costs the others nothing";
    crowd, "crowd", "20 encoders, and 500 viewers of one stream on one edge";
    hostile_bytes, "hostile-bytes", "nonsense on both ports disturbs nobody who watches";
    page, "page", "the player page plays in a browser on every node";
}

/// No scenario takes longer.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Runs what was asked for; an error when something failed.
pub async fn run(arguments: Arguments) -> Result<()> {
    if arguments.list {
        SCENARIOS
            .iter()
            .for_each(|scenario| println!("{:24} {}", scenario.name, scenario.proves));
        return Ok(());
    }
    let chosen = chosen(&arguments.names)?;
    let began = Instant::now();
    let mut failed = Vec::new();
    for scenario in &chosen {
        if !passes(&arguments, scenario, began).await? {
            failed.push(*scenario);
        }
    }
    if arguments.retry {
        for scenario in std::mem::take(&mut failed) {
            once_more(&arguments.out, scenario.name, began.elapsed().as_secs())?;
            if !passes(&arguments, scenario, began).await? {
                failed.push(scenario);
            }
        }
    }
    println!(
        "interop: {} passed, {} failed",
        chosen.len() - failed.len(),
        failed.len()
    );
    if !failed.is_empty() {
        let names: Vec<&str> = failed.iter().map(|it| it.name).collect();
        bail!("failed: {}", names.join(", "));
    }
    Ok(())
}

/// Runs one scenario and says how it went.
async fn passes(arguments: &Arguments, scenario: &Scenario, began: Instant) -> Result<bool> {
    let stage = stage(arguments, scenario.name)?;
    let folder = stage.folder().to_owned();
    println!(
        "{:4}s  {}: {}",
        began.elapsed().as_secs(),
        scenario.name,
        scenario.proves
    );
    let outcome = tokio::time::timeout(LIMIT, (scenario.run)(stage)).await;
    match outcome.unwrap_or_else(|_| bail!("still at it after {LIMIT:?}")) {
        Ok(measured) => {
            println!("       fine: {measured}");
            Ok(true)
        }
        Err(error) => {
            println!(
                "       FAILED: {error:#}\n       (its logs are in {})",
                folder.display()
            );
            Ok(false)
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario {name}; --list names them"))
    };
    names.iter().map(find).collect()
}

fn stage(arguments: &Arguments, name: &str) -> Result<Stage> {
    Stage::new(
        stage::Tools {
            binaries: arguments.binaries.clone(),
            ffmpegs: Ffmpegs {
                debian: arguments.debian_ffmpeg.clone(),
                newest: arguments.newest_ffmpeg.clone(),
            },
            python: arguments.python.clone(),
            browser: arguments.browser.clone(),
        },
        &arguments.out,
        name,
    )
}
