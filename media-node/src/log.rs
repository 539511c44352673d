//! The log of a media node, in the configured format and with the configured level.

use media_config::{LogFormat, LogSettings};
use media_log::{LineFormat, LogLevel, ParseError};

/// Starts to log to standard error. A process that logs already continues to do so as before.
///
/// # Errors
/// When `log.level` is neither a level nor a filter.
pub fn start_log(settings: &LogSettings) -> Result<LogLevel, ParseError> {
    let format = match settings.format {
        LogFormat::Text => LineFormat::Text,
        LogFormat::Json => LineFormat::Json,
    };
    media_log::start(&settings.level, format)
}
