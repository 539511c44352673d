//! The results of the runs: printed one by one, and the worst of each row for the table.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::figures::Figures;

/// The results of rows that each run several times.
pub(crate) struct Results {
    /// In the order of the table.
    rows: Vec<TableRow>,
    total: usize,
    start: Instant,
    finished: usize,
    failed: usize,
    worst: HashMap<String, Figures>,
}

/// A row of the table.
pub(crate) struct TableRow {
    pub(crate) name: String,
    pub(crate) event: String,
    /// Whether the table in README.md has it.
    pub(crate) is_shown: bool,
}

impl Results {
    pub(crate) fn expect(rows: Vec<TableRow>, times: usize) -> Self {
        Self {
            total: rows.len() * times,
            rows,
            start: Instant::now(),
            finished: 0,
            failed: 0,
            worst: HashMap::new(),
        }
    }

    /// Adds the result of a row. The ledger itself was late by so much meanwhile.
    pub(crate) fn add(&mut self, row: &str, figures: Result<Figures>, late: Duration) {
        self.finished += 1;
        let (elapsed, number, total) = (self.start.elapsed().as_secs(), self.finished, self.total);
        match figures {
            Ok(figures) => {
                let late = match late {
                    Duration::ZERO => "in time".to_owned(),
                    late => format!("late by {late:.2?}"),
                };
                println!("{elapsed:4}s  {number}/{total} {row}: {figures}the ledger was {late}");
                self.worst
                    .entry(row.to_owned())
                    .or_default()
                    .add_all(&figures);
            }
            Err(error) => {
                println!("{elapsed:4}s  {number}/{total} {row}: FAILED: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// Returns lines of the table: what happens, and the worst figures.
    pub(crate) fn lines(&self, is_included: impl Fn(&TableRow) -> bool) -> Vec<(&str, &Figures)> {
        let rows = self.rows.iter().filter(|row| is_included(row));
        rows.filter_map(|row| Some((row.event.as_str(), self.worst.get(&row.name)?)))
            .collect()
    }

    /// Fails unless each run has figures.
    pub(crate) fn complete(&self) -> Result<()> {
        match self.failed {
            0 => Ok(()),
            failed => bail!("{failed} runs failed; the table is not written"),
        }
    }
}
