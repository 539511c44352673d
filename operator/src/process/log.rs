//! The log of the process.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::options::OperatorLogFormat;

/// Starts to log to standard error.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub(super) fn start(level: &str, format: OperatorLogFormat) -> Result<(), ParseError> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        OperatorLogFormat::Text => log.init(),
        OperatorLogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}
