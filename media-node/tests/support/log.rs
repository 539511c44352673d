//! Log lines of all media nodes of the test process.

use std::io::{self, Write};
use std::sync::Once;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

static LINES: Mutex<String> = Mutex::new(String::new());

/// Captures the log from now on. With `RUST_LOG` set it is also printed, for the analysis of a failing test.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "media_node=debug".to_owned());
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Capture)
            .finish()
            .with(filter.parse::<Targets>().expect("RUST_LOG: a filter"))
            .init();
    });
}

/// Returns the lines that were logged so far.
pub(crate) fn lines() -> Vec<String> {
    let lines = LINES.lock();
    lines.lines().map(str::to_owned).collect()
}

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::env::var_os("RUST_LOG").is_some() {
            print!("{}", String::from_utf8_lossy(bytes));
        }
        let mut lines = LINES.lock();
        lines.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
