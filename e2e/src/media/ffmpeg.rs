//! ffmpeg as encoder and as player.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::clip::Clip;
use super::process::{self, Process};
use super::recording::Recording;

fn ffmpeg(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-nostdin", "-loglevel", "warning", "-y"]);
    command
}

/// Publishes a clip once, in its own time, as the README says.
pub fn publish(name: &str, clip: &Clip, url: &str, folder: &Path) -> Result<Process> {
    publish_with(name, clip, &["-re"], url, folder)
}

/// Publishes a clip with these options before the input, for example `-stream_loop -1`.
pub fn publish_with(
    name: &str,
    clip: &Clip,
    options: &[&str],
    url: &str,
    folder: &Path,
) -> Result<Process> {
    let mut command = ffmpeg(&clip.ffmpeg);
    command
        .args(options)
        .arg("-i")
        .arg(&clip.file)
        .args(["-c", "copy", "-f", "flv", url]);
    Process::start(name, &mut command, folder)
}

/// Publishes a clip whose time begins so many seconds late.
pub fn publish_shifted(
    name: &str,
    clip: &Clip,
    seconds: u32,
    url: &str,
    folder: &Path,
) -> Result<Process> {
    let mut command = ffmpeg(&clip.ffmpeg);
    command.arg("-re").arg("-i").arg(&clip.file);
    command.args([
        "-c",
        "copy",
        "-output_ts_offset",
        &seconds.to_string(),
        "-f",
        "flv",
        url,
    ]);
    Process::start(name, &mut command, folder)
}

/// What [`publish`] sends, read from a file that the same ffmpeg writes.
pub async fn published(clip: &Clip, folder: &Path) -> Result<Recording> {
    published_with(clip, &[], folder).await
}

/// What [`publish_with`] sends with these options, `-re` left out.
pub async fn published_with(clip: &Clip, options: &[&str], folder: &Path) -> Result<Recording> {
    let file = folder.join(format!(
        "published-{}{}.flv",
        clip.recipe.name,
        options.concat()
    ));
    copy(&clip.ffmpeg, options, &clip.file, &file).await?;
    Recording::read(&file)
}

/// What [`record`] writes when [`publish`] publishes and nothing is lost between them.
pub async fn rewritten(clip: &Clip, folder: &Path) -> Result<Recording> {
    let published = folder.join(format!("published-{}.flv", clip.recipe.name));
    let file = folder.join(format!("rewritten-{}.flv", clip.recipe.name));
    copy(&clip.ffmpeg, &[], &clip.file, &published).await?;
    copy(&clip.ffmpeg, &[], &published, &file).await?;
    Recording::read(&file)
}

async fn copy(program: &Path, options: &[&str], from: &Path, to: &Path) -> Result<()> {
    process::make(to, Duration::from_secs(30), |unfinished| {
        let mut command = ffmpeg(program);
        command
            .args(options)
            .arg("-i")
            .arg(from)
            .args(["-c", "copy", "-f", "flv"])
            .arg(unfinished);
        command
    })
    .await
}

/// A player that writes what comes into `NAME.flv`, without decoding it.
pub fn record(program: &Path, name: &str, url: &str, folder: &Path) -> Result<(Process, PathBuf)> {
    let file = folder.join(format!("{name}.flv"));
    let mut command = ffmpeg(program);
    command
        .args(["-i", url, "-c", "copy", "-f", "flv"])
        .arg(&file);
    Ok((Process::start(name, &mut command, folder)?, file))
}

/// Decodes every packet of a file; any error of any decoder fails.
pub async fn decode(program: &Path, file: &Path) -> Result<()> {
    let mut command = ffmpeg(program);
    command
        .args(["-xerror", "-err_detect", "explode", "-i"])
        .arg(file)
        .args(["-f", "null", "-"]);
    process::run(&mut command, Duration::from_secs(120))
        .await
        .map(drop)
}
