//! The log of the process.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::options::OperatorLogFormat;

/// Starts to log to standard error.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub(super) fn start(level: &str, format: OperatorLogFormat) -> Result<(), ParseError> {
    let filter: Targets = level.parse()?;
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        OperatorLogFormat::Text => log.finish().with(filter).init(),
        OperatorLogFormat::Json => {
            let log = log.json().flatten_event(true).with_span_list(false);
            log.finish().with(filter).init();
        }
    }
    Ok(())
}
