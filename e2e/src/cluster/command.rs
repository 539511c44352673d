//! Programs that users run: kubectl, helm, docker, ffmpeg.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a program that ended said.
#[derive(Debug)]
pub struct Finished {
    line: String,
    status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it did not; the error holds what it said.
    pub fn success(self) -> anyhow::Result<String> {
        if !self.status.success() {
            bail!(
                "`{}` ended with {}: {}{}",
                self.line,
                self.status,
                self.stderr.trim(),
                self.stdout.trim()
            );
        }
        Ok(self.stdout)
    }

    /// The standard error of a program that failed, as it was expected to.
    ///
    /// # Errors
    /// When it succeeded.
    pub fn failure(self) -> anyhow::Result<String> {
        if self.status.success() {
            bail!(
                "`{}` was expected to fail, but said: {}",
                self.line,
                beginning(self.stdout.trim())
            );
        }
        Ok(self.stderr)
    }
}

/// Runs a program to its end, for at most ten minutes.
///
/// # Errors
/// When it cannot be started or does not end in time.
pub async fn command(line: &[&str], input: &str) -> anyhow::Result<Finished> {
    let (program, arguments) = line.split_first().context("an empty command line")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = async {
        // A program that does not read its input closes it early.
        let _closed_early = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, ended)
        .await
        .with_context(|| format!("`{}` did not end within {LIMIT:?}", line.join(" ")))??;
    Ok(Finished {
        line: line.join(" "),
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// As much of a text as a message can bear.
pub fn beginning(text: &str) -> String {
    let end = text.char_indices().nth(BEARABLE).map(|(end, _)| end);
    match end.and_then(|end| text.get(..end)) {
        Some(beginning) => format!("{beginning} … and so on, {} bytes in all", text.len()),
        None => text.to_owned(),
    }
}

const BEARABLE: usize = 500;

/// Longer than any program that scenarios run.
const LIMIT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        let long = beginning(&"ü".repeat(501));
        assert!(long.starts_with(&"ü".repeat(500)), "{long}");
        assert!(long.ends_with("… and so on, 1002 bytes in all"), "{long}");
    }
}
