//! Brings mpegts.js, the library that the player page plays with, by `npm ci` into the build directory.
//!
//! A build without npm, or without a way to the registry, works: the page then says what is missing.
//! npm runs again only when what it is asked for, or this file, changes.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// What `player.rs` embeds, from the package into the build directory.
const EMBEDDED: [&str; 2] = ["mpegts.js", "mpegts.js.LICENSE.txt"];
/// npm retries for minutes where a network swallows packets; nobody waits that long for a page.
const NPM_LIMIT: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for input in ["package.json", "package-lock.json", ".npmrc"] {
        println!("cargo::rerun-if-changed=player/{input}");
    }
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    if let Err(reason) = bring(out) {
        println!("cargo::warning=the player page is built without its player: {reason}");
        println!(
            "cargo::warning=to have it, install Node.js with npm, `touch media-node/build.rs`, build again"
        );
        missing(out, &reason.to_string())?;
    }
    Ok(())
}

/// Installs the locked packages in the build directory, never in the source tree, and picks what is embedded.
fn bring(out: &Path) -> Result<(), Box<dyn Error>> {
    let here = out.join("npm");
    fs::create_dir_all(&here)?;
    for input in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(Path::new("player").join(input), here.join(input))?;
    }
    let npm = Command::new("npm")
        .args(["ci", "--prefer-offline", "--loglevel=error"])
        .args(["--fetch-retries=1", "--fetch-timeout=30000"])
        .current_dir(&here)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(here.join("npm.log"))?)
        .spawn()
        .map_err(|error| format!("npm cannot be started ({error})"))?;
    wait(npm).map_err(|error| format!("npm ci {error}{}", last_words(&here.join("npm.log"))))?;
    for file in EMBEDDED {
        fs::copy(
            here.join("node_modules/mpegts.js/dist").join(file),
            out.join(file),
        )?;
    }
    Ok(())
}

fn wait(mut child: Child) -> Result<(), String> {
    let deadline = Instant::now() + NPM_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed ({status})")),
            Ok(None) if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("took longer than {} s", NPM_LIMIT.as_secs()));
            }
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(format!("cannot be waited for ({error})")),
        }
    }
}

/// The first line of npm's own report that says something, for the warning.
fn last_words(log: &Path) -> String {
    let report = fs::read_to_string(log).unwrap_or_default();
    report
        .lines()
        .map(|line| line.trim_start_matches("npm error ").trim())
        .find(|line| line.contains(' '))
        .map_or_else(String::new, |line| format!(": {line}"))
}

/// Puts a script in the library's place that tells the page why it is not there.
fn missing(out: &Path, reason: &str) -> Result<(), Box<dyn Error>> {
    let [library, license] = EMBEDDED;
    // A Rust string literal of ASCII without control characters is one of JavaScript, too.
    let reason: String = reason
        .chars()
        .filter(|c| c.is_ascii() && !c.is_ascii_control())
        .collect();
    fs::write(
        out.join(library),
        format!("globalThis.playerMissing = {reason:?};\n"),
    )?;
    fs::write(out.join(license), "")?;
    Ok(())
}
