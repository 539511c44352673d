//! The baseline: figures that are committed with the code, and that a change must not raise.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::steps::{Bench, BenchStep};

/// A figure that is so much above the committed one is a regression.
const TOLERANCE: f64 = 1.15;

type ComparedFigures = BTreeMap<String, f64>;

/// Writes what was measured into a file, and keeps the other figures in it.
pub(crate) fn write(measured: &ComparedFigures, file: &Path) -> Result<()> {
    let mut figures = if file.exists() {
        read(file)?
    } else {
        ComparedFigures::new()
    };
    let rounded =
        |(name, figure): (&String, &f64)| (name.clone(), (figure * 1000.0).round() / 1000.0);
    figures.extend(measured.iter().map(rounded));
    let text = serde_json::to_string_pretty(&figures)? + "\n";
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// Fails when a figure of these steps is too high, after they were run once more.
pub(crate) fn compare(bench: &mut Bench, steps: &[BenchStep], file: &Path) -> Result<()> {
    let mut committed = read(file)?;
    committed.retain(|name, _| {
        steps
            .iter()
            .any(|step| name.starts_with(&format!("{step} ")))
    });
    ensure!(
        !committed.is_empty(),
        "{} has no figure of these steps",
        file.display()
    );
    let first = too_high(&committed, &bench.report.compared)?;
    if first.is_empty() {
        return Ok(());
    }
    bench.report.say(&format!(
        "once more, as these are too high: {}",
        first.join("; ")
    ));
    for step in steps {
        bench.run(*step)?;
    }
    let again = too_high(&committed, &bench.report.compared)?;
    ensure!(
        again.is_empty(),
        "more than 15 % above {}: {}",
        file.display(),
        again.join("; ")
    );
    Ok(())
}

fn read(file: &Path) -> Result<ComparedFigures> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no object of numbers", file.display()))
}

/// Returns the figures that are too high. Fails when one was not measured.
fn too_high(committed: &ComparedFigures, now: &ComparedFigures) -> Result<Vec<String>> {
    let mut high = Vec::new();
    for (name, before) in committed {
        let now = now
            .get(name)
            .with_context(|| format!("{name} was not measured"))?;
        // A figure that is not a number must not pass.
        if now.is_nan() || *now > before * TOLERANCE {
            high.push(format!("{name} is {now:.3}, committed {before:.3}"));
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_fifteen_per_cent_is_too_high() {
        let figures = |value| ComparedFigures::from([("cost".to_owned(), value)]);
        assert_eq!(
            too_high(&figures(2.0), &figures(2.29)).unwrap(),
            Vec::<String>::new()
        );
        let high = too_high(&figures(2.0), &figures(2.31)).unwrap();
        assert_eq!(high, ["cost is 2.310, committed 2.000"]);
        assert_eq!(
            too_high(&figures(2.0), &figures(f64::NAN)).unwrap().len(),
            1
        );
        assert!(too_high(&figures(2.0), &ComparedFigures::new()).is_err());
    }
}
