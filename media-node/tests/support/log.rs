//! Log lines of all media nodes of the test process.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;

static LINES: Mutex<String> = Mutex::new(String::new());

/// Captures the log from now on. With `RUST_LOG` set it is also printed, for the analysis of a failing test.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::try_from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("media_node=debug")))
            .with_ansi(false)
            .with_writer(|| Capture)
            .init();
    });
}

/// Returns the lines that were logged so far.
pub(crate) fn lines() -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.lines().map(str::to_owned).collect()
}

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::env::var_os("RUST_LOG").is_some() {
            print!("{}", String::from_utf8_lossy(bytes));
        }
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
