//! The five conditions, each with one reason and one sentence.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use livecluster_api::LiveCluster;
use livecluster_api::names::role_name;
use media_config::Role;

use super::{Facts, MissingReference};
use crate::observe::observed::NodesObserved;
use crate::reconcile::rollout::Hold;

/// A condition before it gets its generation and time.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds,
            reason,
            message: message.into(),
        }
    }
}

/// `Ready`, `OriginsAvailable`, `EdgesAvailable`, `Progressing` and `ReferencesResolved`.
pub(super) fn conditions(cluster: &LiveCluster, facts: &Facts, now: &Time) -> Vec<Condition> {
    let origins = available(cluster, facts, Role::Origin);
    let edges = available(cluster, facts, Role::Edge);
    let references = references(facts);
    let verdicts = [
        (
            "Ready",
            ready(cluster, facts, &origins, &edges, &references),
        ),
        ("OriginsAvailable", origins),
        ("EdgesAvailable", edges),
        ("Progressing", progressing(cluster, facts)),
        ("ReferencesResolved", references),
    ];
    verdicts
        .into_iter()
        .map(|(kind, verdict)| condition(cluster, kind, verdict, now))
        .collect()
}

/// `lastTransitionTime` changes only when the status flips.
fn condition(cluster: &LiveCluster, kind: &str, verdict: Verdict, now: &Time) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let old = cluster
        .status
        .as_ref()
        .and_then(|status| status.conditions.iter().find(|old| old.type_ == kind));
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: shorten(verdict.message),
        observed_generation: cluster.metadata.generation,
        last_transition_time: old
            .filter(|old| old.status == status)
            .map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
    }
}

fn ready(
    cluster: &LiveCluster,
    facts: &Facts,
    origins: &Verdict,
    edges: &Verdict,
    references: &Verdict,
) -> Verdict {
    if let Some(verdict) = problem(facts) {
        return verdict;
    }
    if !references.holds {
        return Verdict::new(false, references.reason, references.message.clone());
    }
    for (role, verdict) in [(Role::Origin, origins), (Role::Edge, edges)] {
        if !verdict.holds {
            let reason = match (verdict.reason, role) {
                ("Stopped", _) => "Stopped",
                (_, Role::Origin) => "OriginsUnavailable",
                (_, Role::Edge) => "EdgesUnavailable",
            };
            return Verdict::new(false, reason, verdict.message.clone());
        }
    }
    let count = |role| counted(cluster.spec.replicas(role), role);
    Verdict::new(
        true,
        "Available",
        format!(
            "{} and {} are available",
            count(Role::Origin),
            count(Role::Edge)
        ),
    )
}

/// The first problem's reason and the messages of all.
fn problem(facts: &Facts) -> Option<Verdict> {
    let first = facts.problems.first()?;
    let messages: Vec<_> = facts
        .problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    Some(Verdict::new(
        false,
        first.cause.reason(),
        messages.join("; "),
    ))
}

/// A role is available when as many nodes are as the spec says. No edges are a cluster of origins only, which is
/// well; no origins are a cluster that nothing can be published to.
fn available(cluster: &LiveCluster, facts: &Facts, role: Role) -> Verdict {
    let wanted = cluster.spec.replicas(role);
    let nodes = facts.observed.nodes(cluster, role);
    if wanted == 0 {
        let message = format!("spec.{}s.replicas is 0", role_name(role));
        return Verdict::new(role == Role::Edge, "Stopped", message);
    }
    let message = format!("{} of {} available", nodes.available, counted(wanted, role));
    if nodes.available >= i32::from(wanted) {
        return Verdict::new(true, "Available", message);
    }
    match nodes.trouble {
        Some(trouble) => Verdict::new(
            false,
            trouble.reason,
            format!("{message}; {}", trouble.message),
        ),
        None if nodes.is_rolling() => Verdict::new(false, "Rolling", message),
        None => Verdict::new(false, "Starting", message),
    }
}

fn progressing(cluster: &LiveCluster, facts: &Facts) -> Verdict {
    if cluster.spec.paused {
        return Verdict::new(false, "Paused", "spec.paused is true: nothing is changed");
    }
    for role in [Role::Edge, Role::Origin] {
        let nodes = facts.observed.nodes(cluster, role);
        if !nodes.exists {
            return problem(facts).unwrap_or_else(|| {
                let message = format!("the {}s are being created", role_name(role));
                Verdict::new(true, "Creating", message)
            });
        }
        if let Some(verdict) = rolling(cluster, &nodes, role) {
            return verdict;
        }
        if let Some((_, hold)) = facts.holds.iter().find(|(held, _)| *held == role) {
            return held(*hold, &nodes, role);
        }
    }
    problem(facts)
        .unwrap_or_else(|| Verdict::new(false, "RolloutComplete", "all nodes are as the spec says"))
}

/// What a role is busy with; nothing when it is settled.
fn rolling(cluster: &LiveCluster, nodes: &NodesObserved, role: Role) -> Option<Verdict> {
    let wanted = i32::from(cluster.spec.replicas(role));
    if nodes.is_settled() && nodes.wanted == wanted {
        return None;
    }
    let trouble = nodes
        .trouble
        .as_ref()
        .map(|trouble| format!("; {}: {}", trouble.reason, trouble.message))
        .unwrap_or_default();
    if nodes.is_stuck {
        let message = format!("the {}s make no progress{trouble}", role_name(role));
        return Some(Verdict::new(false, "ProgressDeadlineExceeded", message));
    }
    let of = counted(cluster.spec.replicas(role), role);
    let is_edge = role == Role::Edge;
    let (reason, message) = if nodes.is_rolling() && nodes.replicas > 0 {
        let reason = if is_edge {
            "RollingEdges"
        } else {
            "RollingOrigins"
        };
        let updated = if nodes.is_current { nodes.updated } else { 0 };
        (reason, format!("{updated} of {of} updated"))
    } else if nodes.replicas != wanted {
        let reason = if is_edge {
            "ScalingEdges"
        } else {
            "ScalingOrigins"
        };
        (reason, format!("{} of {of} exist", nodes.replicas))
    } else {
        let reason = if is_edge {
            "StartingEdges"
        } else {
            "StartingOrigins"
        };
        (reason, format!("{} of {of} available", nodes.available))
    };
    Some(Verdict::new(true, reason, message + &trouble))
}

fn held(hold: Hold, nodes: &NodesObserved, role: Role) -> Verdict {
    match hold {
        Hold::EdgesFirst => Verdict::new(
            true,
            "RollingEdges",
            "origins roll when every edge has the new template",
        ),
        Hold::Draining => Verdict::new(
            true,
            "Draining",
            format!(
                "{} {}s are still leaving; the next rollout waits for them",
                nodes.terminating,
                role_name(role)
            ),
        ),
    }
}

fn references(facts: &Facts) -> Verdict {
    let missing = &facts.references.missing;
    if let Some(first) = missing.first() {
        let texts: Vec<_> = missing.iter().map(missing_text).collect();
        return Verdict::new(false, first.kind.reason(), texts.join("; "));
    }
    if facts.references.secrets_unchecked {
        return Verdict::new(
            true,
            "SecretsNotChecked",
            "the operator may not read Secrets; a missing one shows at the Pods",
        );
    }
    Verdict::new(true, "Resolved", "all that the spec names is there")
}

fn missing_text(missing: &MissingReference) -> String {
    let MissingReference { kind, name, field } = missing;
    format!("{field}: {} \"{name}\" does not exist", kind.name())
}

/// "1 origin", "2 edges".
fn counted(count: u16, role: Role) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {}{plural}", role_name(role))
}

/// Kubernetes takes at most 32,768 characters; a reader far fewer.
fn shorten(mut message: String) -> String {
    const LONGEST: usize = 2000;
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
    }
    message
}
