//! Programs that scenarios run: to their end, or in the background with their output in a file. Every wait has a deadline.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// A command out of a line that is split at spaces.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Runs a line that is split at spaces, and returns its standard output.
pub async fn run(line: &str) -> Result<String> {
    finish(&mut command(line), "").await?.success()
}

/// Runs a program to its end, for at most twenty minutes. [`Finished`] says whether it succeeded.
pub async fn finish(command: &mut Command, input: &str) -> Result<Finished> {
    let line = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {line}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = async {
        // A program that does not read its input closes it early.
        let _closed_early = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, ended)
        .await
        .with_context(|| format!("{line} did not end within {LIMIT:?}"))??;
    Ok(Finished {
        line,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The result of a program that ended.
#[derive(Debug)]
pub struct Finished {
    line: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Returns the standard output, or an error with the end of all output when the program failed.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            let output = format!("{}{}", self.stderr, self.stdout);
            let Self { line, status, .. } = self;
            bail!("{line} ended with {status}: {}", last_lines(&output));
        }
        Ok(self.stdout)
    }

    /// The standard error of a program that is expected to fail.
    pub fn failure(self) -> Result<String> {
        if self.status.success() {
            let output = beginning(self.stdout.trim());
            bail!("{} is expected to fail, but printed: {output}", self.line);
        }
        Ok(self.stderr)
    }
}

/// A running program. It is killed when dropped. It is in the process group of the scenarios, so what ends the group ends it too.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output goes to `NAME.log` in the folder.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().context("share the log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}: {}", shown(command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().map(i32::try_from).transpose()?;
        let Some(id) = id.and_then(Pid::from_raw) else {
            bail!("{} has ended{}", self.name, self.last_output());
        };
        kill_process(id, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub async fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("wait for {}", self.name)),
            Err(_) => bail!(
                "{} still runs after {limit:?}{}",
                self.name,
                self.last_output()
            ),
        }
    }

    /// Waits for its end, and fails unless its exit status is 0.
    pub async fn success(&mut self, limit: Duration) -> Result<()> {
        let status = self.exit(limit).await?;
        if !status.success() {
            bail!("{} ended with {status}{}", self.name, self.last_output());
        }
        Ok(())
    }

    /// Everything it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed a text.
    pub async fn prints(&mut self, expected: &str, limit: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        while !self.output().contains(expected) {
            let runs = self.is_running();
            if !runs || tokio::time::Instant::now() > deadline {
                let (name, state) = (&self.name, if runs { "runs" } else { "has ended" });
                let last = self.last_output();
                bail!("{name} did not print {expected:?} within {limit:?} and {state}{last}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of its output, for an error.
    pub fn last_output(&self) -> String {
        format!("; its last output:\n      {}", last_lines(&self.output()))
    }
}

/// Makes a file by a program, unless it exists. Concurrent calls for the same file wait, so that none finds half of it.
pub async fn make(file: &Path, program: impl FnOnce(&Path) -> Command) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    if file.exists() {
        return Ok(());
    }
    let unfinished = file.with_extension("unfinished.flv");
    finish(&mut program(&unfinished), "").await?.success()?;
    std::fs::rename(&unfinished, file).with_context(|| format!("name {}", file.display()))
}

/// The start of a text, short enough for an error message.
pub fn beginning(text: &str) -> String {
    let end = text.char_indices().nth(500).map(|(end, _)| end);
    match end.and_then(|end| text.get(..end)) {
        Some(beginning) => format!("{beginning} … ({} bytes in all)", text.len()),
        None => text.to_owned(),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(12)..);
    last.unwrap_or_default().join("\n      ")
}

/// The command line, without the environment that was set for it.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

/// Longer than any program that scenarios run to its end.
const LIMIT: Duration = Duration::from_secs(1200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        let long = beginning(&"ü".repeat(501));
        assert!(long.starts_with(&"ü".repeat(500)), "{long}");
        assert!(long.ends_with("… (1002 bytes in all)"), "{long}");
    }

    #[tokio::test]
    async fn file_that_several_tasks_need_is_made_once_and_never_seen_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clip.flv");
        let needed = async || {
            let program = |unfinished: &Path| {
                let mut command = Command::new("sh");
                let script = "echo made >>\"$0\"; echo one >\"$1\"; sleep 0.1; echo two >>\"$1\"";
                command.args(["-c", script]);
                command.arg(folder.path().join("made")).arg(unfinished);
                command
            };
            make(&file, program).await.unwrap();
            std::fs::read_to_string(&file).unwrap()
        };
        let received = tokio::join!(needed(), needed(), needed());
        let whole = || "one\ntwo\n".to_owned();
        assert_eq!(received, (whole(), whole(), whole()));
        let made = std::fs::read_to_string(folder.path().join("made")).unwrap();
        assert_eq!(made, "made\n");
    }
}
