//! The results of the runs: printed one by one, and the worst of each row for the table.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, bail};

use super::figures::Figures;

/// The results of rows that each run several times.
pub(crate) struct Results {
    /// The rows in the order of the table: name and event.
    rows: Vec<(&'static str, &'static str)>,
    total: usize,
    start: Instant,
    finished: usize,
    failed: usize,
    worst: HashMap<&'static str, Figures>,
}

impl Results {
    pub(crate) fn expect(rows: Vec<(&'static str, &'static str)>, times: usize) -> Self {
        Self {
            total: rows.len() * times,
            rows,
            start: Instant::now(),
            finished: 0,
            failed: 0,
            worst: HashMap::new(),
        }
    }

    /// Adds the result of a row.
    pub(crate) fn add(&mut self, row: &'static str, figures: Result<Figures>) {
        self.finished += 1;
        let (elapsed, number, total) = (self.start.elapsed().as_secs(), self.finished, self.total);
        match figures {
            Ok(figures) => {
                println!("{elapsed:4}s  {number}/{total} {row}: {figures}");
                let worst = self.worst.entry(row).or_default();
                *worst = worst.worse(figures);
            }
            Err(error) => {
                println!("{elapsed:4}s  {number}/{total} {row}: FAILED: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// Returns the lines of the table: what happens, and the worst figures.
    pub(crate) fn lines(&self) -> Vec<(&'static str, Figures)> {
        let rows = self.rows.iter();
        rows.filter_map(|(name, event)| Some((*event, *self.worst.get(name)?)))
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
