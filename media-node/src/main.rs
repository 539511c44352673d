//! `media-node --config FILE`: reads the configuration, opens the ports, serves until a signal, drains, exits 0.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use media_config::{LogFormat, LogSettings, NodeConfig};
use media_node::Node;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Many threads allocate and free messages of very different sizes; musl's allocator, which the images have, is slow
/// at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An RTMP and HTTP-FLV streaming node.
///
/// Encoders publish to it and viewers play from it: rtmp://NODE:1935/live/livestream,
/// http://NODE:8080/live/livestream.flv, ws://NODE:8080/live/livestream.flv, and a player page at http://NODE:8080/.
/// An edge (role: edge) fetches what it lacks from its origins and forwards to them what is published to it.
///
/// SIGTERM or SIGINT: drains (see `drain` in the configuration), then exits 0. A second one: exits at once.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, a YAML file. Without it the node is an origin with all defaults.
    #[arg(long, value_name = "FILE", env = "MEDIA_NODE_CONFIG")]
    config: Option<PathBuf>,
    /// Checks the configuration, prints it with all defaults filled in, and exits.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the causes are made of.
            eprintln!("media-node: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = match &arguments.config {
        Some(path) => media_config::load(path).with_context(|| path.display().to_string())?,
        None => NodeConfig::default(),
    };
    if arguments.check {
        print!("{}", media_config::render(&config)?);
        return Ok(());
    }
    log_to_standard_error(&config.log)?;
    // The workers have threads of their own; this one accepts and watches over them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: NodeConfig) -> anyhow::Result<()> {
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let node = Node::bind(config).await?;
    let signals = async {
        for token in [&drain, &stop] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            token.cancel();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = node.run(drain.clone(), stop.clone()) => {}
        () = signals => {}
    }
    Ok(())
}

fn log_to_standard_error(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| {
        // Its source says the same again.
        anyhow::anyhow!("log.level: {error}")
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
