//! The costs as a bar chart, in SVG.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::Row;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 8] = [
    "#9e9e9e", "#1565c0", "#42a5f5", "#00897b", "#ef6c00", "#8e24aa", "#6d4c41", "#c62828",
];

/// Writes the chart: a group of bars for each setting, a colour for each server and protocol.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.step == "cost").collect();
    let svg = chart(&rows);
    std::fs::write(file, svg).with_context(|| format!("write {}", file.display()))
}

fn chart(rows: &[&Row]) -> String {
    let settings = distinct(rows.iter().map(|row| row.setting.clone()));
    let series = distinct(rows.iter().map(|row| series_of(row)));
    let values = rows.iter().map(|row| cost(row));
    let top = values.fold(0.1_f64, f64::max) * 1.1;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">core-seconds for 1,000 viewers that watch for a second</text>\n"
    );
    let zero = HEIGHT - BOTTOM;
    let scale = (zero - TOP) / top;
    for line in 0..=4 {
        let value = top * f64::from(line) / 4.0;
        let y = zero - value * scale;
        let right = WIDTH - 20.0;
        let _infallible = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"10\" y=\"{:.1}\">{value:.2}</text>",
            y + 4.0
        );
    }
    let group = (WIDTH - LEFT - 20.0) / settings.len().max(1) as f64;
    let bar = group * 0.85 / series.len().max(1) as f64;
    for (number, setting) in settings.iter().enumerate() {
        let x = LEFT + group * number as f64;
        let _infallible = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{setting}</text>",
            x + 4.0,
            zero + 20.0
        );
        for row in rows.iter().filter(|row| row.setting == *setting) {
            let place = series.iter().position(|it| *it == series_of(row));
            let place = place.unwrap_or_default();
            let (height, colour) = (cost(row) * scale, colour(place));
            let (x, y) = (x + bar * place as f64, zero - height);
            let _infallible = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                bar * 0.9
            );
        }
    }
    for (place, name) in series.iter().enumerate() {
        let x = LEFT + 160.0 * (place % 5) as f64;
        let y = 42.0 + 16.0 * (place / 5) as f64;
        let colour = colour(place);
        let _infallible = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            y - 9.0,
            x + 14.0
        );
    }
    svg + "</svg>\n"
}

/// The process' time, or the core's where the process is not known.
fn cost(row: &Row) -> f64 {
    let process = row.figure("process").filter(|cost| cost.is_finite());
    process.or_else(|| row.figure("core")).unwrap_or_default()
}

fn series_of(row: &Row) -> String {
    format!("{} {}", row.server, row.protocol)
}

fn colour(place: usize) -> &'static str {
    COLOURS
        .get(place % COLOURS.len())
        .copied()
        .unwrap_or("black")
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}
