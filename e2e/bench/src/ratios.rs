//! Ratios to the floor, compared with those that are committed with the code.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::steps::{Bench, Step};

/// A ratio that is so much above the committed one is a regression.
const TOLERANCE: f64 = 1.15;

/// Writes ratios as JSON.
pub(crate) fn write(ratios: &BTreeMap<String, f64>, file: &Path) -> Result<()> {
    let rounded = ratios
        .iter()
        .map(|(name, ratio)| (name, (ratio * 1000.0).round() / 1000.0));
    let text = serde_json::to_string_pretty(&rounded.collect::<BTreeMap<_, _>>())? + "\n";
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// Fails when a ratio is too high, after the steps were run once more.
pub(crate) fn compare(bench: &mut Bench, steps: &[Step], file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let committed: BTreeMap<String, f64> = serde_json::from_str(&text)?;
    let first = too_high(&committed, &bench.report.ratios)?;
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
    let again = too_high(&committed, &bench.report.ratios)?;
    ensure!(
        again.is_empty(),
        "more than 15 % above {}: {}",
        file.display(),
        again.join("; ")
    );
    Ok(())
}

/// Returns the ratios that are too high. Fails when one was not measured.
fn too_high(committed: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) -> Result<Vec<String>> {
    let mut high = Vec::new();
    for (name, before) in committed {
        let now = now
            .get(name)
            .with_context(|| format!("{name} was not measured"))?;
        // A cost that is not a number must not pass.
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
        let ratios = |value| BTreeMap::from([("cost".to_owned(), value)]);
        assert_eq!(
            too_high(&ratios(2.0), &ratios(2.29)).unwrap(),
            Vec::<String>::new()
        );
        let high = too_high(&ratios(2.0), &ratios(2.31)).unwrap();
        assert_eq!(high, ["cost is 2.310, committed 2.000"]);
        assert_eq!(too_high(&ratios(2.0), &ratios(f64::NAN)).unwrap().len(), 1);
        assert!(too_high(&ratios(2.0), &BTreeMap::new()).is_err());
    }
}
