//! Which edges take new clients. No clock and no client: samples come in as arguments.
//!
//! Viewers stay connected for hours, and a Service chooses among its Pods at random: a new edge would stay emptier than the others
//! for as long. So a full edge leaves the Service, as a retiring one does. It keeps its connections and its readiness, so that
//! neither its Deployment nor a disruption budget misses it. It returns when it is no longer fuller than the others.
//!
//! A label of a Pod does not expire. While no operator works, the edges that were open stay so: this module leaves room in them
//! for the viewers who come until another operator leads. Every Pod that starts is open. An operator that is stopped opens all
//! edges, and those of a cluster about which it does not decide any more, such as a paused one.
//!
//! Only where all operators are killed and none starts again do full edges stay so, and the alert `LiveClusterOperatorWithoutLeader`
//! names the command that opens them. What would expire by itself costs more than that:
//!
//! - Readiness that a media node takes back for a limited time: a Deployment counts the Pod as missing, a rollout removes it first,
//!   with the most viewers, and a disruption budget lets no other one go.
//! - Media nodes that change the labels of their Pods: RBAC cannot limit that to their own, so an edge that is broken into could take
//!   any Pod of the namespace into a Service, or out of it.
//! - Full edges that forward connections or redirect clients: the former send every byte all the same, and clients reach no single
//!   Pod from outside.
//! - A Job that watches the Lease: it is one more operator, which what ends the others, such as a missing image, ends as well.

use std::collections::BTreeSet;

/// Viewers beyond the mean with which an edge becomes full, as part of the mean.
const SURPLUS: f64 = 0.1;
/// Viewers beyond the mean that are chance where there are few.
const FEW_VIEWERS: f64 = 1.0;
/// Part of its target at which a full edge takes clients again.
const REOPENS_AT: f64 = 0.95;
/// Seconds for whose viewers the open edges have room: an operator that dies is replaced within them, and its successor scrapes
/// twice before it decides.
const AHEAD_SECONDS: f64 = 30.0;
/// Viewers beyond the mean that the viewers of these seconds may cause, as part of the mean.
const ROOM: f64 = 0.2;

/// The load of an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JoinLoad {
    /// Its viewers.
    pub viewers: f64,
    /// The part of its target that they take up.
    pub of_target: f64,
}

/// An edge that does not retire.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinEdge {
    /// UID of the Pod.
    pub uid: String,
    /// Node of the Pod.
    pub node: String,
    /// Whether it takes no new clients.
    pub is_full: bool,
    /// Unknown while it does not respond.
    pub load: Option<JoinLoad>,
}

/// The edges of a cluster that do not retire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinFleet {
    /// The edges.
    pub edges: Vec<JoinEdge>,
    /// Viewers who come in a second.
    pub plays_per_second: f64,
    /// Viewers of edges that are terminating: all of them come within their drain, many of them at its end.
    pub returning: f64,
    /// Whether a client reaches only the edges of the node that it connects to.
    pub is_local: bool,
}

/// Returns the UIDs of the edges that take no new clients.
///
/// # Guarantees
/// An edge that responds is open, where clients reach only the edges of a node on every node that had one. The open edges have room
/// for the viewers of the next half a minute, and for those of terminating edges. An edge that does not respond is open, and does
/// not count. When fewer than half of the edges respond, all are open.
pub fn full_edges(fleet: &JoinFleet) -> BTreeSet<String> {
    let responding: Vec<LoadedEdge<'_>> = fleet
        .edges
        .iter()
        .filter_map(|edge| Some((edge, edge.load?)))
        .collect();
    if responding.len() * 2 < fleet.edges.len() || responding.len() < 2 {
        return BTreeSet::new();
    }
    let viewers: f64 = responding.iter().map(|(_, load)| load.viewers).sum();
    let mean = viewers / as_f64(responding.len());
    let coming = fleet.plays_per_second * AHEAD_SECONDS + fleet.returning;
    let has_room = responding
        .iter()
        .any(|(edge, load)| !is_at_target(edge, *load));
    let (mut full, mut open): (Vec<_>, Vec<_>) =
        responding.into_iter().partition(|(edge, load)| {
            // Without new viewers another full edge would change nothing.
            let may_be = edge.is_full || coming > 0.0;
            may_be && (is_above(edge, *load, mean) || (has_room && is_at_target(edge, *load)))
        });
    full.sort_by(|(a, of_a), (b, of_b)| {
        of_a.viewers
            .total_cmp(&of_b.viewers)
            .then_with(|| a.uid.cmp(&b.uid))
    });
    if fleet.is_local {
        keep_one_of_each_node(&mut full, &open);
    }
    while !full.is_empty() && !is_enough(&open, &full, coming) {
        open.push(full.remove(0));
    }
    full.into_iter().map(|(edge, _)| edge.uid.clone()).collect()
}

/// An edge that responds, and its load.
type LoadedEdge<'a> = (&'a JoinEdge, JoinLoad);

/// Takes the emptiest edge of each node that has no open one out of the full ones.
fn keep_one_of_each_node(full: &mut Vec<LoadedEdge<'_>>, open: &[LoadedEdge<'_>]) {
    let mut nodes: BTreeSet<String> = open.iter().map(|(edge, _)| edge.node.clone()).collect();
    full.retain(|(edge, _)| !nodes.insert(edge.node.clone()));
}

/// Returns whether the open edges are enough for the viewers who come: each gets its part of them, and none becomes much fuller
/// than the others.
fn is_enough(open: &[LoadedEdge<'_>], full: &[LoadedEdge<'_>], coming: f64) -> bool {
    let all = || open.iter().chain(full).map(|(_, load)| load.viewers);
    let fullest = all().fold(0.0, f64::max);
    let fullest_open = open
        .iter()
        .map(|(_, load)| load.viewers)
        .fold(0.0, f64::max);
    let mean = (all().sum::<f64>() + coming) / as_f64(open.len() + full.len());
    let limit = (mean * (1.0 + ROOM)).max(fullest);
    !open.is_empty() && fullest_open + coming / as_f64(open.len()) <= limit
}

/// Returns whether an edge has so many more viewers than the others that it becomes full, or stays so.
fn is_above(edge: &JoinEdge, load: JoinLoad, mean: f64) -> bool {
    let limit = if edge.is_full {
        mean
    } else {
        mean * (1.0 + SURPLUS) + FEW_VIEWERS
    };
    load.viewers > limit
}

fn is_at_target(edge: &JoinEdge, load: JoinLoad) -> bool {
    load.of_target >= if edge.is_full { REOPENS_AT } else { 1.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a cluster has far fewer edges")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
