//! A scenario, and which of them run where.

use anyhow::{Context, bail};
use futures::future::BoxFuture;

use super::Stage;
use crate::scenarios;

/// One thing to prove.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line: its file's name.
    pub name: &'static str,
    /// What it proves, in one line.
    pub proves: &'static str,
    /// Whether it disturbs others, and so runs alone.
    pub alone: bool,
    /// Why it runs only on a kind cluster of its own, if so.
    pub needs_kind: Option<&'static str>,
    /// The steps.
    pub run: Steps,
}

impl Scenario {
    /// A scenario that disturbs nobody: it runs beside others.
    pub const fn beside(name: &'static str, proves: &'static str, run: Steps) -> Self {
        Self {
            name,
            proves,
            alone: false,
            needs_kind: None,
            run,
        }
    }

    /// A scenario that disturbs the operator, a machine or the API server: it runs alone.
    pub const fn alone(name: &'static str, proves: &'static str, run: Steps) -> Self {
        Self {
            name,
            proves,
            alone: true,
            needs_kind: None,
            run,
        }
    }

    /// The same scenario, to be skipped on clusters that are not ours to break.
    pub const fn needs_kind(self, why: &'static str) -> Self {
        Self {
            needs_kind: Some(why),
            ..self
        }
    }
}

/// A scenario's steps, on its stage.
pub type Steps = fn(Stage) -> BoxFuture<'static, anyhow::Result<()>>;

/// Says what there is to prove.
pub(super) fn list() {
    for scenario in scenarios::ALL {
        let alone = if scenario.alone { "alone" } else { "" };
        let kind = if scenario.needs_kind.is_some() {
            "kind"
        } else {
            ""
        };
        println!(
            "{:20} {alone:5} {kind:4}  {}",
            scenario.name, scenario.proves
        );
    }
    println!(
        "alone: disturbs others. kind: needs a kind cluster of its own, and is skipped by --here"
    );
}

/// What is to run, and what is to be skipped here and why. What is asked for by name is never skipped.
///
/// # Errors
/// When a name is not known, or what it stands for cannot run here.
pub(super) fn choose(
    names: &[String],
    kind: bool,
) -> anyhow::Result<(Vec<Scenario>, Vec<Skipped>)> {
    let why_not = |scenario: &Scenario| scenario.needs_kind.filter(|_| !kind);
    if names.is_empty() {
        let (mut chosen, mut skipped) = (Vec::new(), Vec::new());
        for scenario in scenarios::ALL {
            match why_not(scenario) {
                None => chosen.push(*scenario),
                Some(why) => skipped.push((*scenario, why)),
            }
        }
        return Ok((chosen, skipped));
    }
    let find = |name: &String| {
        let found = scenarios::ALL.iter().find(|scenario| scenario.name == name);
        let scenario =
            found.with_context(|| format!("there is no scenario {name}; --list names them"))?;
        if let Some(why) = why_not(scenario) {
            bail!("{name} needs a kind cluster of its own, as {why}: run it without --here");
        }
        Ok(*scenario)
    };
    Ok((
        names.iter().map(find).collect::<anyhow::Result<_>>()?,
        Vec::new(),
    ))
}

/// A scenario that is skipped, and why.
pub(super) type Skipped = (Scenario, &'static str);

/// What the last line says of scenarios that were skipped.
pub(super) fn left_out(skipped: &[Skipped]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    format!(
        "; {} SKIPPED, as they need a kind cluster of their own: {}",
        skipped.len(),
        names(skipped.iter().map(|(scenario, _)| scenario))
    )
}

/// Their names, for a message.
pub(super) fn names<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) -> String {
    let names: Vec<&str> = scenarios.into_iter().map(|it| it.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], kind: bool) -> anyhow::Result<(Vec<Scenario>, Vec<Skipped>)> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        choose(&names, kind)
    }

    #[test]
    fn on_a_kind_cluster_nothing_is_skipped() {
        let (chosen, skipped) = chosen(&[], true).unwrap();
        assert_eq!(chosen.len(), scenarios::ALL.len());
        assert_eq!(left_out(&skipped), "");
    }

    #[test]
    fn elsewhere_what_needs_kind_is_skipped_and_named() {
        let (chosen, skipped) = chosen(&[], false).unwrap();
        assert!(chosen.iter().all(|scenario| scenario.needs_kind.is_none()));
        assert_eq!(chosen.len() + skipped.len(), scenarios::ALL.len());
        assert!(left_out(&skipped).contains("node-loss"));
    }

    #[test]
    fn asked_for_by_name_it_is_an_error_that_says_why() {
        let Err(error) = chosen(&["minimal-cluster", "node-loss"], false) else {
            panic!("node-loss was to be refused");
        };
        let said = error.to_string();
        assert!(said.contains("node-loss needs a kind cluster"), "{said}");
        assert!(said.contains("power"), "{said}");
        assert!(chosen(&["node-loss"], true).is_ok());
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(chosen(&["no-such-thing"], true).is_err());
    }
}
