//! What was measured: progress lines, a table, a JSON file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) step: String,
    pub(crate) server: String,
    pub(crate) protocol: String,
    pub(crate) setting: String,
    pub(crate) viewers: usize,
    /// Names with their units, and values.
    #[serde(serialize_with = "as_map")]
    pub(crate) figures: Vec<(&'static str, f64)>,
}

fn as_map<S: serde::Serializer>(
    figures: &[(&'static str, f64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().copied())
}

impl Row {
    /// Returns a figure by its name.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        let mut figures = self.figures.iter();
        figures.find(|it| it.0 == name).map(|it| it.1)
    }

    fn names(&self) -> Vec<&str> {
        self.figures.iter().map(|it| it.0).collect()
    }
}

/// Everything that was measured so far.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    host: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<Row>,
    /// Figures of the media node that are compared with the baseline: costs as multiples of those of the floor, the memory of a viewer
    /// in KiB, instructions and writes for a frame.
    pub(crate) compared: BTreeMap<String, f64>,
    #[serde(skip)]
    start: Instant,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            host: host(),
            rows: Vec::new(),
            compared: BTreeMap::new(),
            start: Instant::now(),
        }
    }

    /// Prints a line of progress.
    pub(crate) fn say(&self, what: &str) {
        println!("{:4}s  {what}", self.start.elapsed().as_secs());
    }

    /// Adds a measurement and prints it.
    pub(crate) fn add(&mut self, row: Row) {
        let figures = row.figures.iter();
        let figures: Vec<_> = figures
            .map(|(name, value)| format!("{name} {}", short(*value)))
            .collect();
        let Row {
            server,
            protocol,
            setting,
            viewers,
            ..
        } = &row;
        self.say(&format!(
            "{}: {server} {protocol} {setting}, {viewers} viewers: {}",
            row.step,
            figures.join(", ")
        ));
        self.rows.push(row);
    }

    /// Prints one table for each step.
    pub(crate) fn print(&self) {
        let mut rest = self.rows.as_slice();
        while let Some(first) = rest.first() {
            let same = |row: &Row| row.step == first.step && row.names() == first.names();
            let count = rest.iter().take_while(|row| same(row)).count();
            let (rows, others) = rest.split_at(count);
            print_table(rows);
            rest = others;
        }
        if !self.compared.is_empty() {
            println!(
                "\ncompared with the baseline: ratios to the floor; memory of a viewer in KiB; instructions and writes for a frame"
            );
            for (name, figure) in &self.compared {
                println!("  {name:34} {figure:.3}");
            }
        }
    }

    /// Writes `bench.json`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("bench.json");
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }
}

fn print_table(rows: &[Row]) {
    let Some(first) = rows.first() else {
        return;
    };
    println!("\n{}", first.step);
    print!(
        "  {:12} {:10} {:14} {:>8}",
        "server", "protocol", "setting", "viewers"
    );
    first.names().iter().for_each(|name| print!("  {name:>12}"));
    println!();
    for row in rows {
        let Row {
            server,
            protocol,
            setting,
            viewers,
            ..
        } = row;
        print!("  {server:12} {protocol:10} {setting:14} {viewers:>8}");
        for (name, value) in &row.figures {
            print!("  {:>1$}", short(*value), name.len().max(12));
        }
        println!();
    }
}

/// A number with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn host() -> BTreeMap<&'static str, String> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or_default()
        .trim_start_matches([' ', '\t', ':']);
    BTreeMap::from([
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("cpu", model.to_owned()),
    ])
}
