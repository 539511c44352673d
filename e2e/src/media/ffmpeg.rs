//! ffmpeg as encoder and as player.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use super::clip::Clip;
use super::recording::Recording;
use crate::process::{self, Process};

/// ffmpeg with options before its input, which is copied into FLV.
fn copy(program: &Path, options: &str, from: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-nostdin", "-loglevel", "warning", "-y"]);
    command.args(options.split_whitespace());
    command
        .arg("-i")
        .arg(from)
        .args(["-c", "copy", "-f", "flv"]);
    command
}

/// Publishes a clip once, at its pace, as the README does.
pub fn publish(name: &str, clip: &Clip, url: &str, folder: &Path) -> Result<Process> {
    let options = format!("-re {}", clip.input_options);
    let mut command = copy(&clip.ffmpeg, &options, &clip.file);
    command.args(clip.output_options.split_whitespace());
    Process::start(name, command.arg(url), folder)
}

/// Returns what [`publish`] sends, read from a file that the same ffmpeg writes.
pub async fn published(clip: &Clip, folder: &Path) -> Result<Recording> {
    Recording::read(&published_file(clip, folder).await?)
}

/// Returns what [`record`] writes when [`publish`] publishes and nothing is lost between them.
pub async fn rewritten(clip: &Clip, folder: &Path) -> Result<Recording> {
    let published = published_file(clip, folder).await?;
    let file = folder.join(format!("rewritten-{}.flv", clip.name));
    write(copy(&clip.ffmpeg, "", &published), &file).await?;
    Recording::read(&file)
}

async fn published_file(clip: &Clip, folder: &Path) -> Result<PathBuf> {
    let (name, options) = (clip.name, clip.input_options);
    let file = format!("published-{name}{}.flv", options.replace(' ', ""));
    let file = folder.join(file);
    write(copy(&clip.ffmpeg, options, &clip.file), &file).await?;
    Ok(file)
}

async fn write(mut command: Command, file: &Path) -> Result<()> {
    process::make(file, |unfinished| {
        command.arg(unfinished);
        command
    })
    .await
}

/// Plays a stream into `NAME.flv`, without decoding it.
pub fn record(program: &Path, name: &str, url: &str, folder: &Path) -> Result<(Process, PathBuf)> {
    let file = folder.join(format!("{name}.flv"));
    let mut command = copy(program, "", Path::new(url));
    Ok((Process::start(name, command.arg(&file), folder)?, file))
}

/// Decodes every packet of a file.
pub async fn decode(program: &Path, file: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(["-hide_banner", "-nostdin", "-loglevel", "warning"])
        .args(["-xerror", "-err_detect", "explode", "-i"])
        .arg(file)
        .args(["-f", "null", "-"]);
    process::finish(&mut command, "").await?.success().map(drop)
}
