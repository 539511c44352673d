//! The table of the ledger, in Markdown.

use std::path::Path;

use anyhow::{Context, Result};

use super::figures::{Figures, ProtocolFigures};
use super::rows::LedgerRow;

const BEGIN: &str = "<!-- ledger: written by e2e/ledger/run --write -->\n";
const END: &str = "<!-- ledger: end -->\n";

/// Returns the table of rows that ran so many times.
pub(crate) fn render(rows: &[(&LedgerRow, Figures)], times: usize) -> String {
    let mut table = format!(
        "| event, the worst of {times} | messages lost | repeated | longest gap | disconnected |\n\
         |---|---|---|---|---|\n"
    );
    for (row, figures) in rows {
        let cells = [
            cell(figures, |it| it.lost.to_string()),
            cell(figures, |it| it.repeated.to_string()),
            cell(figures, |it| format!("{:.1} s", it.gap.as_secs_f64())),
            cell(figures, |it| it.disconnected.to_string()),
        ];
        table.push_str(&format!("| {} | {} |\n", row.event, cells.join(" | ")));
    }
    table
}

/// Returns one value if all protocols have the same, else that of each.
fn cell(figures: &Figures, show: impl Fn(&ProtocolFigures) -> String) -> String {
    let mut values: Vec<String> = figures.0.iter().map(show).collect();
    let first = values.first().cloned().unwrap_or_default();
    if values.iter().all(|value| *value == first) {
        values.truncate(1);
    }
    values.join(" / ")
}

/// Puts the table between the marks of a file.
pub(crate) fn write(file: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).context("read README.md")?;
    let replaced = replace(&text, table).context("README.md has no marks of the ledger")?;
    std::fs::write(file, replaced).context("write README.md")
}

fn replace(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rows::ROWS;
    use super::*;

    #[test]
    fn table_replaces_the_one_before() {
        let mut figures = Figures::default();
        figures.0[1].lost = 3;
        figures.0[1].gap = Duration::from_millis(120);
        let table = render(&[(&ROWS[0], figures)], 5);
        assert!(
            table.contains("| 0 / 3 / 0 | 0 | 0.0 s / 0.1 s / 0.0 s | 0 |"),
            "{table}"
        );
        let before = format!("top\n{BEGIN}old\n{END}bottom\n");
        let expected = format!("top\n{BEGIN}{table}{END}bottom\n");
        assert_eq!(replace(&before, &table).unwrap(), expected);
        assert_eq!(replace(&expected, &table).unwrap(), expected);
    }
}
