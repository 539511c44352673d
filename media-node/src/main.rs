//! `media-node --config FILE`: reads the configuration, opens the ports, serves until a signal, drains, and exits with 0.

use std::io::{IsTerminal as _, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use media_node::{LiveFile, LogLevel, Node, NodeConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Many threads allocate and free messages of very different sizes, which the allocator of musl in the images is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A live streaming server for RTMP, HTTP-FLV and WebSocket-FLV.
///
/// Encoders publish to it and viewers play from it: rtmp://HOST:1935/live/livestream,
/// http://HOST:8080/live/livestream.flv, ws://HOST:8080/live/livestream.flv. The player page is at http://HOST:8080/.
/// An edge (role: edge) pulls streams that it lacks from its origins, and forwards streams that are published to it.
///
/// SIGTERM or SIGINT drains it (see `drain` in the configuration), then it exits with 0. A second one ends it immediately.
#[derive(Parser)]
#[command(version)]
struct MediaNodeArguments {
    /// Configuration, a YAML file. Without it the media node is an origin with all defaults.
    #[arg(long, value_name = "FILE", env = "MEDIA_NODE_CONFIG")]
    config: Option<PathBuf>,
    /// Settings that change while the media node runs, a YAML file with `log.level`, `limits` and `metrics` of the configuration,
    /// which it overrides. It is read again when it changes.
    #[arg(long, value_name = "FILE", env = "MEDIA_NODE_LIVE_CONFIG")]
    live_config: Option<PathBuf>,
    /// Validate the configuration, print it with all defaults, and exit.
    #[arg(long)]
    check: bool,
    /// Print a token for the API on the internal port of media nodes with this configuration, valid for an hour, and exit.
    #[arg(long)]
    api_token: bool,
}

fn main() -> ExitCode {
    // A huge page stays in memory as a whole while anything in it is in use: an idle media node had 13 MiB instead of 2, and a container
    // with a limit was killed with half of it in use (2026-11-28). A kernel without the setting has none.
    let _disabled = rustix::thread::disable_transparent_huge_pages(true);
    match run(&MediaNodeArguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, even where a cause has several.
            eprintln!("media-node: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &MediaNodeArguments) -> anyhow::Result<()> {
    // The workers have their own threads. This one accepts connections.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // First of all: the first process of a container loses a signal that it has no handler for, and a Pod that is deleted while it starts
    // would stay until the end of its grace period.
    let signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    let mut config = match &arguments.config {
        Some(path) => media_config::load(path).with_context(|| path.display().to_string())?,
        None => NodeConfig::default(),
    };
    let live_file = match &arguments.live_config {
        Some(path) => {
            let opened = LiveFile::open(path, &mut config);
            Some(opened.with_context(|| path.display().to_string())?)
        }
        None => None,
    };
    if arguments.check {
        print!("{}", media_config::render(&config)?);
        return Ok(());
    }
    if arguments.api_token {
        let token = Node::api_token(&config)?;
        println!("{}", token.context("identity.secretFile is not set")?);
        return Ok(());
    }
    // Without its source, which repeats the message.
    let log = media_node::start_log(&config.log);
    let log = log.map_err(|error| anyhow::anyhow!("log.level: {error}"))?;
    runtime.block_on(serve(config, live_file.map(|file| (file, log)), signals))
}

/// The signals of this process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` in a terminal, which sends it when it is closed, and so ends the media node in it.
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let hang_up = (!stdin().is_terminal()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot handle SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot handle SIGINT")?,
            hang_up: hang_up.transpose().context("cannot handle SIGHUP")?,
        })
    }
}

async fn serve(
    config: NodeConfig,
    live: Option<(LiveFile, LogLevel)>,
    signals: Signals,
) -> anyhow::Result<()> {
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let Signals {
        mut terminate,
        mut interrupt,
        mut hang_up,
    } = signals;
    let mut node = Node::bind(config).await?;
    node.return_memory();
    if let Some((file, log)) = live {
        node = node.follow(file, log);
    }
    let signals = async {
        for token in [&drain, &stop] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            token.cancel();
        }
        std::future::pending::<()>().await;
    };
    // To other servers the signal means to read their configuration again, and their users send it.
    let ignored = async {
        if let Some(hang_up) = &mut hang_up {
            while hang_up.recv().await.is_some() {
                warn!(
                    "SIGHUP has no effect: --live-config, keys and certificates are read again when they change, restart for other settings"
                );
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = node.run(drain.clone(), stop.clone()) => {}
        () = signals => {}
        () = ignored => {}
    }
    Ok(())
}
