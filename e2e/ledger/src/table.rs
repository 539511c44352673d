//! The table of the ledger, in Markdown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::{Figures, ProtocolFigures};

/// A part of the table in README.md, by the line that begins it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TablePart {
    Processes,
    Kubernetes,
}

impl TablePart {
    fn begin(self) -> &'static str {
        match self {
            Self::Processes => "<!-- ledger: written by e2e/ledger/run --write -->\n",
            Self::Kubernetes => "<!-- ledger: written by e2e/ledger/run --kubernetes --write -->\n",
        }
    }
}

const END: &str = "<!-- ledger: end -->\n";

/// Returns the table of rows that ran so many times: what happens, and the figures.
pub(crate) fn render(rows: &[(&str, &Figures)], times: usize) -> String {
    let mut table = format!(
        "| event, the worst of {times} | messages lost | repeated | longest gap | disconnected | joining |\n\
         |---|---|---|---|---|---|\n"
    );
    for (event, figures) in rows {
        let cells = [
            cell(figures, |it| it.lost.to_string()),
            cell(figures, |it| it.repeated.to_string()),
            cell(figures, |it| seconds(it.gap)),
            cell(figures, |it| it.disconnected.to_string()),
            cell(figures, |it| seconds(it.joining)),
        ];
        table.push_str(&format!("| {event} | {} |\n", cells.join(" | ")));
    }
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Returns one value if all protocols have the same, else that of each.
fn cell(figures: &Figures, show: impl Fn(&ProtocolFigures) -> String) -> String {
    let mut values: Vec<String> = figures.0.values().map(show).collect();
    let first = values.first().cloned().unwrap_or_default();
    if values.iter().all(|value| *value == first) {
        values.truncate(1);
    }
    values.join(" / ")
}

/// Puts the table between the marks of a part in a file.
pub(crate) fn write(file: &Path, part: TablePart, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).context("read README.md")?;
    let replaced =
        replace(&text, part.begin(), table).context("README.md has no marks of the ledger")?;
    std::fs::write(file, replaced).context("write README.md")
}

fn replace(text: &str, begin: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::audience::ViewerProtocol;
    use super::*;

    #[test]
    fn table_replaces_the_one_before() {
        let rtmp = ProtocolFigures {
            lost: 3,
            gap: Duration::from_millis(120),
            ..ProtocolFigures::default()
        };
        let figures = Figures(BTreeMap::from([
            (ViewerProtocol::Flv, ProtocolFigures::default()),
            (ViewerProtocol::Rtmp, rtmp),
        ]));
        let table = render(&[("an origin is killed", &figures)], 5);
        assert!(
            table.contains("| an origin is killed | 0 / 3 | 0 | 0.0 s / 0.1 s | 0 | 0.0 s |"),
            "{table}"
        );
        let [first, second] = [TablePart::Processes, TablePart::Kubernetes].map(TablePart::begin);
        let before = format!("top\n{first}old\n{END}between\n{second}old\n{END}bottom\n");
        let expected = format!("top\n{first}old\n{END}between\n{second}{table}{END}bottom\n");
        assert_eq!(replace(&before, second, &table).unwrap(), expected);
        assert_eq!(replace(&expected, second, &table).unwrap(), expected);
    }
}
