//! A program beside us: its output in a file, every wait with a deadline, and gone when we are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// A running program. Dropped, it and what it started are killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a program can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Please end.
    Terminate,
    /// Ends at once, unasked.
    Kill,
    /// Freezes.
    Stop,
    /// Goes on after [`Signal::Stop`].
    Continue,
}

impl Process {
    /// Starts a program. What it prints goes to `NAME.log` in the folder.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().context("share the log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}: {:?}", command.as_std()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Tells it something.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(id) = self.child.id() else {
            bail!("{} has ended, it takes no signal{}", self.name, self.told());
        };
        send(signal, &id.to_string())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub async fn exit(&mut self, within: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("wait for {}", self.name)),
            Err(_) => bail!("{} still runs after {within:?}{}", self.name, self.told()),
        }
    }

    /// Waits for its end, which has to be a good one.
    pub async fn success(&mut self, within: Duration) -> Result<()> {
        let status = self.exit(within).await?;
        if !status.success() {
            bail!("{} ended with {status}{}", self.name, self.told());
        }
        Ok(())
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> Result<u64> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} has ended", self.name))?;
        let status =
            std::fs::read_to_string(format!("/proc/{id}/status")).context("read its status")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("its memory")?;
        let kibibytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .context("its memory")?;
        Ok(kibibytes << 10)
    }

    /// Everything it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed something.
    pub async fn prints(&mut self, wanted: &str, within: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        while !self.output().contains(wanted) {
            if !self.is_running() {
                bail!(
                    "{} ended before it said {wanted:?}{}",
                    self.name,
                    self.told()
                );
            }
            if tokio::time::Instant::now() > deadline {
                let name = &self.name;
                bail!(
                    "{name} has not said {wanted:?} in {within:?}{}",
                    self.told()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of what it printed, for an error.
    pub fn told(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
        let last = lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default();
        format!("; it said last:\n      {}", last.join("\n      "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(id) = self.child.id() {
            // The group: what it has started itself goes too.
            let _ = send(Signal::Kill, &format!("-{id}"));
        }
    }
}

fn send(signal: Signal, target: &str) -> Result<()> {
    let signal = match signal {
        Signal::Interrupt => "INT",
        Signal::Terminate => "TERM",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
    };
    // The shell's own kill: there is none without `unsafe` or a package that not every machine has.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{signal} {target}")])
        .stderr(Stdio::null())
        .status()
        .context("run sh")?;
    if !status.success() {
        bail!("kill -{signal} {target} ended with {status}");
    }
    Ok(())
}

/// Makes a file by a program, unless it is there. Who wants the same file meanwhile waits for it: nobody finds half of it.
pub async fn make(
    file: &Path,
    within: Duration,
    program: impl FnOnce(&Path) -> Command,
) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    if file.exists() {
        return Ok(());
    }
    let unfinished = file.with_extension("unfinished.flv");
    run(&mut program(&unfinished), within).await?;
    std::fs::rename(&unfinished, file).with_context(|| format!("name {}", file.display()))
}

/// Runs a program to its good end; what it printed on standard output.
pub async fn run(command: &mut Command, within: Duration) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(within, output).await {
        Ok(output) => output.with_context(|| format!("run {shown}"))?,
        Err(_) => bail!("{shown} still runs after {within:?}"),
    };
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = errors.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default();
        bail!(
            "{shown} ended with {}:\n      {}",
            output.status,
            last.join("\n      ")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command line, without the environment that was set for it.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_several_want_is_made_once_and_never_seen_in_parts() {
        let folder = std::env::temp_dir().join(format!("livecluster-make-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("film.flv");
        let wanted = async || {
            let program = |unfinished: &Path| {
                let mut command = Command::new("sh");
                let script = "echo made >>\"$0\"; echo one >\"$1\"; sleep 0.1; echo two >>\"$1\"";
                command.args(["-c", script]);
                command.arg(folder.join("made")).arg(unfinished);
                command
            };
            make(&file, Duration::from_secs(10), program).await.unwrap();
            std::fs::read_to_string(&file).unwrap()
        };
        let came = tokio::join!(wanted(), wanted(), wanted());
        let whole = || "one\ntwo\n".to_owned();
        assert_eq!(came, (whole(), whole(), whole()));
        let made = std::fs::read_to_string(folder.join("made")).unwrap();
        assert_eq!(made, "made\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
