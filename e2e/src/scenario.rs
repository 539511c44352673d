//! A scenario, and the selection of those that run.

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;

use crate::cluster::Namespace;
use crate::stage::Stage;

/// One thing to prove.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line: its file's name.
    pub name: &'static str,
    /// What it proves, in one line.
    pub proves: &'static str,
    /// Whether others may run at the same time.
    pub order: Order,
    /// Why it runs only on a kind cluster of its own, if so.
    pub needs_kind: Option<&'static str>,
    /// What it does.
    pub steps: Steps,
}

/// Whether other scenarios may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It disturbs no other scenario.
    Beside,
    /// It disturbs others, by load or by what it breaks.
    Alone,
    /// It breaks the cluster itself, its nodes or what they all need: it runs alone, or on another cluster at the same time.
    BreaksCluster,
}

/// The steps of a scenario, by what they need.
#[derive(Clone, Copy, Debug)]
pub enum Steps {
    /// Real encoders and players.
    Programs(fn(Stage) -> BoxFuture<'static, Result<()>>),
    /// A namespace of a Kubernetes cluster.
    Kubernetes(fn(Namespace) -> BoxFuture<'static, Result<()>>),
}

/// Declares scenarios as lines of module, name, order, why it needs kind, and what it proves.
macro_rules! scenarios {
    ($steps:ident: $($module:ident $name:literal $order:ident $kind:expr, $proves:literal;)*) => {
        &[$($crate::scenario::Scenario {
            name: $name,
            proves: $proves,
            order: $crate::scenario::Order::$order,
            needs_kind: $kind,
            steps: $crate::scenario::Steps::$steps(|stage| Box::pin($module::run(stage))),
        },)*]
    };
}
pub(crate) use scenarios;

/// Prints all scenarios.
pub(crate) fn list(all: &[Scenario]) {
    for scenario in all {
        let order = match scenario.order {
            Order::Alone => "alone",
            Order::BreaksCluster => "breaks",
            Order::Beside => "beside",
        };
        let kind = scenario.needs_kind.map_or("", |_| "kind");
        println!(
            "{:20} {order:6} {kind:4}  {}",
            scenario.name, scenario.proves
        );
    }
    println!(
        "alone: disturbs others. breaks: disturbs all of its cluster. kind: needs a kind cluster of its own"
    );
}

/// Returns the scenarios to run, and those to skip here, as they need a kind cluster. A scenario that is selected by name is never
/// skipped.
pub(crate) fn select(
    all: &[Scenario],
    names: &[String],
    kind: bool,
) -> Result<(Vec<Scenario>, Vec<Scenario>)> {
    let runs_here = |scenario: &Scenario| kind || scenario.needs_kind.is_none();
    if names.is_empty() {
        return Ok(all.iter().copied().partition(runs_here));
    }
    let mut selected = Vec::new();
    for name in names {
        let found = all.iter().find(|scenario| scenario.name == name);
        let scenario = found.with_context(|| format!("no scenario {name}; --list names them"))?;
        if let Some(why) = scenario.needs_kind.filter(|_| !kind) {
            bail!("{name} needs a kind cluster of its own, as {why}: run it without --here");
        }
        selected.push(*scenario);
    }
    Ok((selected, Vec::new()))
}

/// The names of scenarios, for a message.
pub(crate) fn names<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) -> String {
    let names: Vec<&str> = scenarios.into_iter().map(|it| it.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::KUBERNETES;

    fn selected(names: &[&str], kind: bool) -> Result<(Vec<Scenario>, Vec<Scenario>)> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        select(KUBERNETES, &names, kind)
    }

    #[test]
    fn kind_cluster_skips_nothing() {
        let (selected, skipped) = selected(&[], true).unwrap();
        assert_eq!(selected.len(), KUBERNETES.len());
        assert!(skipped.is_empty());
    }

    #[test]
    fn other_cluster_skips_what_needs_kind() {
        let (selected, skipped) = selected(&[], false).unwrap();
        assert!(selected.iter().all(|it| it.needs_kind.is_none()));
        assert!(skipped.iter().all(|it| it.needs_kind.is_some()));
        assert_eq!(selected.len() + skipped.len(), KUBERNETES.len());
        assert!(names(&skipped).contains("node-loss"));
    }

    #[test]
    fn scenario_that_cannot_run_here_is_an_error_when_named() {
        let Err(error) = selected(&["minimal-cluster", "node-loss"], false) else {
            panic!("node-loss is not refused");
        };
        let error = error.to_string();
        assert!(error.contains("node-loss needs a kind cluster"), "{error}");
        assert!(error.contains("power"), "{error}");
        assert!(selected(&["node-loss"], true).is_ok());
    }

    #[test]
    fn unknown_name_is_an_error() {
        assert!(selected(&["no-such-thing"], true).is_err());
    }
}
