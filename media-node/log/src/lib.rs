//! The log on standard error: one line for each event, whatever text peers and users send.
//!
//! Names, parameters and agents are texts of peers, and values of a resource are texts of users. Every part of the media node and of
//! the operator logs some of them. They are escaped here and nowhere else. The JSON of the API is escaped by the same function. Control
//! characters could forge lines and control terminals, and directional characters could display a line in another order.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use tracing_subscriber::filter::ParseError;

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// Text for people.
    Text,
    /// One JSON object for each line, with the fields of the event and of its spans.
    Json,
    /// One JSON object for each line, with the fields of the event beside its time and level.
    FlatJson,
}

/// The level of a log, which changes while the log is written.
pub struct LogLevel(Box<dyn Fn(Targets) + Send + Sync>);

impl LogLevel {
    /// Changes the level. It has no effect where the process logged before.
    ///
    /// # Errors
    /// When `level` is neither a level nor a filter.
    pub fn set(&self, level: &str) -> Result<(), ParseError> {
        (self.0)(level.parse()?);
        Ok(())
    }
}

/// Starts to log to standard error. A process that logs already continues to do so as before.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub fn start(level: &str, format: LineFormat) -> Result<LogLevel, ParseError> {
    let (log, level) = subscriber(level, format, io::stderr().is_terminal(), io::stderr)?;
    let _ = log.try_init();
    Ok(level)
}

fn subscriber<W>(
    level: &str,
    format: LineFormat,
    ansi: bool,
    writer: W,
) -> Result<(Dispatch, LogLevel), ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A filter without regular expressions: those of `EnvFilter` take a tenth of the time of a first build.
    let filter: Targets = level.parse()?;
    // A line that cannot be written is lost, for example when the disk is full or the reader of a pipe has ended. Reporting it on
    // standard error would panic for the same reason.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_max_level(LevelFilter::TRACE);
    Ok(match format {
        // Fields are escaped before they become part of a line, because the colours of a line are control characters as well.
        LineFormat::Text => {
            let log = log.with_ansi(ansi).fmt_fields(EscapedFields);
            filtered(log.with_writer(writer).finish(), filter)
        }
        LineFormat::Json => {
            let log = log.json().with_ansi(false);
            filtered(log.with_writer(EscapedLines(writer)).finish(), filter)
        }
        LineFormat::FlatJson => {
            let log = log.json().flatten_event(true).with_span_list(false);
            let log = log.with_ansi(false).with_writer(EscapedLines(writer));
            filtered(log.finish(), filter)
        }
    })
}

/// Puts a filter before a log.
fn filtered<S>(log: S, filter: Targets) -> (Dispatch, LogLevel)
where
    S: Subscriber + Send + Sync,
{
    let (filter, handle) = reload::Layer::new(filter);
    let level = LogLevel(Box::new(move |filter| {
        // It fails only where the log has ended.
        let _ = handle.reload(filter);
    }));
    (log.with(filter).into(), level)
}

/// Fields of events and spans, escaped.
struct EscapedFields;

impl<'w> FormatFields<'w> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&escape(&text))
    }
}

/// Makes writers of [`EscapedLine`].
struct EscapedLines<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for EscapedLines<W> {
    type Writer = EscapedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedLine(self.0.make_writer())
    }
}

/// A writer of one line, which it escapes. The escapes are those of JSON.
struct EscapedLine<W>(W);

impl<W: Write> Write for EscapedLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        // One write, because other threads log as well.
        self.0.write_all((escape(line) + end).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns the text with `\uXXXX` instead of each character that must not be in a line. Escaped JSON has the same value.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, separators of lines and paragraphs, and marks of direction (Unicode, annex 9).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error_span, info};

    use super::*;

    /// Characters of every unsafe kind, and safe ones of several bytes.
    const PLANTED: &str = "a\n\r\t\0\u{1b}[31m\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}é漢z";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Logs the planted characters in every way in which a peer's text is logged.
    fn logged(format: LineFormat, ansi: bool) -> String {
        let written = Written::default();
        let writer = written.clone();
        let (log, _) = subscriber("info", format, ansi, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&log, || {
            let span = error_span!("connection", peer = PLANTED, shown = %PLANTED);
            let _entered = span.enter();
            let error: &dyn std::error::Error = &io::Error::other(PLANTED);
            info!(text = PLANTED, display = %PLANTED, debug = ?PLANTED, error, "{PLANTED}");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    fn assert_one_safe_line(text: &str) {
        let line = text.strip_suffix('\n').expect("a line");
        let raw = line.chars().find(|character| is_unsafe(*character));
        assert_eq!(raw, None, "{line:?}");
        assert!(line.contains("\\u202e") && line.contains("é漢z"), "{line}");
    }

    #[test]
    fn no_unsafe_character_of_a_peer_is_written() {
        assert_one_safe_line(&logged(LineFormat::Text, false));
        for format in [LineFormat::Json, LineFormat::FlatJson] {
            let json = logged(format, false);
            assert_one_safe_line(&json);
            let event: serde_json::Value = serde_json::from_str(&json).unwrap();
            let fields = match format {
                LineFormat::Json => &event["fields"],
                _ => &event,
            };
            assert_eq!(fields["display"], PLANTED);
        }
    }

    #[test]
    fn level_changes_while_the_log_is_written() {
        for format in [LineFormat::Text, LineFormat::Json, LineFormat::FlatJson] {
            let written = Written::default();
            let writer = written.clone();
            let log = subscriber("info", format, false, move || writer.clone());
            let (log, level) = log.unwrap();
            tracing::dispatcher::with_default(&log, || {
                debug!("one");
                level.set("info,media_log=debug").unwrap();
                debug!("two");
                level.set("media_log=loud").unwrap_err();
                debug!("three");
                level.set("error").unwrap();
                info!("four");
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            let logged = ["one", "two", "three", "four"].map(|word| text.contains(word));
            assert_eq!(logged, [false, true, true, false], "{text}");
        }
    }

    #[test]
    fn terminal_gets_no_escape_sequence_of_a_peer() {
        let text = logged(LineFormat::Text, true);
        assert!(text.contains("\u{1b}[32m INFO"), "{text:?}");
        assert!(!text.contains("\u{1b}[31m"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }
}
