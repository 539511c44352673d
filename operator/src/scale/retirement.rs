//! Which edges retire when there are more than are wanted.
//!
//! A retiring edge has left its Service: it keeps its connections, and gets no new ones. It is removed when its last client has
//! disconnected, or after the retire timeout. Until then the Deployment keeps its replicas, so that no Pod is terminated.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// Time until a Pod that has left its Service gets no further connection: every node has to learn it first.
pub const SETTLE_TIME: Duration = Duration::from_secs(5);

/// An edge Pod that is not terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgePod {
    /// Name of the Pod.
    pub name: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether its container runs. One that is not ready may still serve clients.
    pub is_running: bool,
    /// Since when it retires.
    pub retiring_since: Option<Timestamp>,
    /// Whether it has the lowest deletion cost: it is deleted when the Deployment gets fewer replicas.
    pub is_chosen: bool,
    /// Its viewers and publishers; unknown while it does not respond.
    pub clients: Option<u64>,
}

/// The edges of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeFleet {
    /// Edges that are to serve new clients.
    pub wanted: i32,
    /// Replicas of the Deployment.
    pub replicas: i32,
    /// The Pods.
    pub pods: Vec<EdgePod>,
    /// Time after which a retiring edge is removed although it has clients.
    pub retire_timeout: Duration,
    /// Whether Pods are being replaced. The Deployment would choose the Pods to remove among old and new ones.
    pub is_rolling: bool,
    /// Whether the rollout exceeded its progress deadline. It may stay so without end.
    pub is_stuck: bool,
}

/// The next step from a fleet to its wanted size. Lists are names of Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetirementPlan {
    /// Pods that leave the Service.
    pub retire: Vec<String>,
    /// Retiring Pods that return to the Service.
    pub restore: Vec<String>,
    /// Retiring Pods that the Deployment removes when it gets its new replicas.
    pub remove: Vec<String>,
    /// New replicas of the Deployment.
    pub replicas: i32,
}

/// Returns the next step at `now`.
///
/// # Guarantees
/// A Pod with clients is removed only after the retire timeout. Pods that are not ready retire first, then the emptiest. When more
/// edges are wanted, retiring ones return before new Pods are created, the fullest first.
pub fn plan(fleet: &EdgeFleet, now: Timestamp) -> RetirementPlan {
    let excess = count(fleet.replicas.saturating_sub(fleet.wanted));
    let pods = remaining(fleet);
    // Pods that the Deployment has not created yet.
    let absent = count(fleet.replicas).saturating_sub(pods.len());
    let absent = if fleet.is_rolling {
        0
    } else {
        absent.min(excess)
    };
    let (mut retiring, mut serving): (Vec<&EdgePod>, Vec<&EdgePod>) = pods
        .iter()
        .copied()
        .partition(|pod| pod.retiring_since.is_some());
    retiring.sort_by_key(|pod| emptiest_first(pod));
    serving.sort_by_key(|pod| emptiest_first(pod));
    let to_retire = excess - absent;
    let restored = retiring.split_off(retiring.len().min(to_retire));
    serving.truncate(to_retire - retiring.len());

    let to_remove: Vec<&EdgePod> = retiring
        .into_iter()
        .chain(serving.iter().copied())
        .filter(|pod| may_be_removed(pod, fleet, now))
        .collect();
    let remove = without_risk(to_remove, &pods, fleet, now);
    let removed = i32::try_from(absent + remove.len()).unwrap_or(i32::MAX);
    RetirementPlan {
        retire: names(&serving),
        restore: names(&restored),
        replicas: fleet.replicas.max(fleet.wanted).saturating_sub(removed),
        remove: names(&remove),
    }
}

/// Returns the Pods without those that the ReplicaSet has yet to delete: its replicas do not include them any more.
fn remaining(fleet: &EdgeFleet) -> Vec<&EdgePod> {
    let mut surplus = match fleet.is_rolling {
        // Those that replace others.
        true => 0,
        false => fleet.pods.len().saturating_sub(count(fleet.replicas)),
    };
    let mut pods: Vec<&EdgePod> = fleet.pods.iter().collect();
    pods.retain(|pod| {
        let is_deleted = pod.is_chosen && surplus > 0;
        surplus -= usize::from(is_deleted);
        !is_deleted
    });
    pods
}

fn may_be_removed(pod: &EdgePod, fleet: &EdgeFleet, now: Timestamp) -> bool {
    if fleet.is_rolling {
        return fleet.is_stuck && is_overdue(pod, fleet, now);
    }
    let since = pod.retiring_since.unwrap_or(now);
    let is_empty = pod.clients == Some(0) && since + SETTLE_TIME <= now;
    !pod.is_running || is_empty || is_overdue(pod, fleet, now)
}

fn is_overdue(pod: &EdgePod, fleet: &EdgeFleet, now: Timestamp) -> bool {
    let since = pod.retiring_since.unwrap_or(now);
    since + fleet.retire_timeout <= now
}

/// Leaves out Pods in whose place the ReplicaSet would remove another one that may have clients: it removes Pods that are not ready
/// before those of the lowest deletion cost.
fn without_risk<'a>(
    mut remove: Vec<&'a EdgePod>,
    pods: &[&EdgePod],
    fleet: &EdgeFleet,
    now: Timestamp,
) -> Vec<&'a EdgePod> {
    let mut others = pods.iter();
    let is_at_risk = others.any(|pod| !pod.is_ready && pod.is_running && !remove.contains(pod));
    if is_at_risk {
        remove.retain(|pod| !pod.is_ready || is_overdue(pod, fleet, now));
    }
    remove
}

/// A Pod that does not respond may have many clients.
fn emptiest_first(pod: &EdgePod) -> (bool, u64, &str) {
    (pod.is_ready, pod.clients.unwrap_or(u64::MAX), &pod.name)
}

fn names(pods: &[&EdgePod]) -> Vec<String> {
    pods.iter().map(|pod| pod.name.clone()).collect()
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A ready Pod with so many clients that retires since a second.
    fn pod(name: &str, clients: u64, since: Option<i64>) -> EdgePod {
        EdgePod {
            name: name.to_owned(),
            is_ready: true,
            is_running: true,
            retiring_since: since.map(at),
            is_chosen: false,
            clients: Some(clients),
        }
    }

    fn fleet(wanted: i32, pods: Vec<EdgePod>) -> EdgeFleet {
        EdgeFleet {
            wanted,
            replicas: i32::try_from(pods.len()).unwrap(),
            pods,
            retire_timeout: Duration::from_secs(3600),
            is_rolling: false,
            is_stuck: false,
        }
    }

    fn four(wanted: i32) -> EdgeFleet {
        let clients = [("a", 50), ("b", 3), ("c", 90), ("d", 7)];
        fleet(
            wanted,
            clients
                .map(|(name, clients)| pod(name, clients, None))
                .to_vec(),
        )
    }

    /// Carries out a plan, as the Deployment does with the deletion costs of the removed Pods.
    fn step(fleet: &mut EdgeFleet, now: i64) -> RetirementPlan {
        let plan = plan(fleet, at(now));
        for pod in &mut fleet.pods {
            if plan.retire.contains(&pod.name) {
                pod.retiring_since = Some(at(now));
            } else if plan.restore.contains(&pod.name) {
                pod.retiring_since = None;
            }
        }
        fleet.pods.retain(|pod| !plan.remove.contains(&pod.name));
        fleet.replicas = plan.replicas;
        plan
    }

    #[test]
    fn emptiest_edges_retire_and_stay_until_they_are_empty() {
        let mut fleet = four(2);
        let first = step(&mut fleet, 0);
        assert_eq!(first.retire, ["b", "d"]);
        assert_eq!((first.remove.len(), first.replicas), (0, 4));
        assert_eq!(
            step(&mut fleet, 1000),
            RetirementPlan {
                replicas: 4,
                ..RetirementPlan::default()
            }
        );
        fleet.pods[1].clients = Some(0);
        let next = step(&mut fleet, 1001);
        assert_eq!((next.remove, next.replicas), (vec!["b".to_owned()], 3));
        assert_eq!(step(&mut fleet, 3599).replicas, 3);
        let last = step(&mut fleet, 3600);
        assert_eq!((last.remove, last.replicas), (vec!["d".to_owned()], 2));
    }

    #[test]
    fn empty_edge_stays_until_every_node_knows_that_it_retires() {
        let mut fleet = fleet(1, vec![pod("a", 0, None), pod("b", 5, None)]);
        assert_eq!(step(&mut fleet, 0).retire, ["a"]);
        assert_eq!(step(&mut fleet, 4).remove, Vec::<String>::new());
        assert_eq!(step(&mut fleet, 5).remove, ["a"]);
    }

    #[test]
    fn choice_does_not_follow_the_number_of_clients() {
        let mut fleet = four(2);
        step(&mut fleet, 0);
        fleet.pods[1].clients = Some(500);
        fleet.pods[0].clients = Some(1);
        let next = step(&mut fleet, 10);
        assert_eq!((next.retire.len(), next.restore.len()), (0, 0));
    }

    #[test]
    fn retiring_edges_return_before_new_ones_are_created() {
        let mut fleet = four(1);
        step(&mut fleet, 0);
        fleet.wanted = 3;
        let up = step(&mut fleet, 10);
        assert_eq!(
            (up.restore, up.replicas),
            (vec!["d".to_owned(), "a".to_owned()], 4)
        );
        fleet.wanted = 6;
        let up = step(&mut fleet, 20);
        assert_eq!((up.restore, up.replicas), (vec!["b".to_owned()], 6));
    }

    #[test]
    fn edge_that_is_not_deleted_yet_brings_no_other_one_back() {
        let mut fleet = four(2);
        step(&mut fleet, 0);
        fleet.pods[1].clients = Some(0);
        let next = plan(&fleet, at(10));
        assert_eq!((next.remove, next.replicas), (vec!["b".to_owned()], 3));
        (fleet.replicas, fleet.pods[1].is_chosen) = (3, true);
        let unchanged = RetirementPlan {
            replicas: 3,
            ..RetirementPlan::default()
        };
        assert_eq!(plan(&fleet, at(11)), unchanged);
        // The next empty one does not wait for its deletion.
        fleet.pods[3].clients = Some(0);
        let next = plan(&fleet, at(11));
        assert_eq!((next.remove, next.replicas), (vec!["d".to_owned()], 2));
        // Its Deployment did not get its new replicas.
        fleet.replicas = 4;
        assert_eq!(plan(&fleet, at(11)).remove, ["b", "d"]);
    }

    #[test]
    fn edge_that_does_not_run_is_chosen_at_once() {
        let mut fleet = four(3);
        fleet.pods[2].is_ready = false;
        fleet.pods[2].is_running = false;
        let plan = step(&mut fleet, 0);
        assert_eq!(
            (plan.retire.as_slice(), plan.remove.as_slice()),
            (&["c".to_owned()][..], &["c".to_owned()][..])
        );
        assert_eq!(plan.replicas, 3);
    }

    #[test]
    fn edge_that_is_not_ready_retires_first_and_keeps_its_clients() {
        let mut fleet = four(3);
        fleet.pods[2].is_ready = false;
        fleet.pods[2].clients = None;
        let first = step(&mut fleet, 0);
        assert_eq!((first.retire, first.replicas), (vec!["c".to_owned()], 4));
        // It is scraped now.
        fleet.pods[2].clients = Some(90);
        assert_eq!(step(&mut fleet, 100).replicas, 4);
        fleet.pods[2].clients = Some(0);
        assert_eq!(step(&mut fleet, 101).remove, ["c"]);
    }

    #[test]
    fn nothing_is_chosen_while_the_replica_set_would_choose_another_edge() {
        let mut fleet = four(3);
        step(&mut fleet, 0);
        fleet.pods[1].clients = Some(0);
        fleet.pods[0].is_ready = false;
        let plan = step(&mut fleet, 100);
        assert_eq!((plan.remove.len(), plan.replicas), (0, 4));
        // No client is lost with one that does not run.
        fleet.pods[0].is_running = false;
        assert_eq!(step(&mut fleet, 101).remove, ["b"]);
    }

    #[test]
    fn edge_that_does_not_respond_retires_last_and_leaves_after_the_timeout() {
        let mut fleet = four(3);
        fleet.pods[1].clients = None;
        assert_eq!(step(&mut fleet, 0).retire, ["d"]);
        fleet.wanted = 1;
        assert_eq!(step(&mut fleet, 1).retire, ["a", "c"]);
        fleet.wanted = 0;
        assert_eq!(step(&mut fleet, 2).retire, ["b"]);
        assert_eq!(step(&mut fleet, 3601).remove, ["d", "a", "c"]);
        assert_eq!(step(&mut fleet, 3602).remove, ["b"]);
    }

    #[test]
    fn pod_that_was_not_created_yet_is_not_created_any_more() {
        let mut fleet = four(4);
        fleet.replicas = 9;
        let plan = step(&mut fleet, 0);
        assert_eq!((plan.retire.len(), plan.replicas), (0, 4));
    }

    #[test]
    fn no_edge_is_chosen_while_pods_are_replaced() {
        let mut fleet = four(2);
        fleet.is_rolling = true;
        for pod in &mut fleet.pods {
            pod.clients = Some(0);
        }
        assert_eq!(step(&mut fleet, 0).retire, ["a", "b"]);
        assert_eq!(step(&mut fleet, 100).replicas, 4);
        fleet.is_rolling = false;
        assert_eq!(step(&mut fleet, 101).replicas, 2);
    }

    #[test]
    fn stuck_rollout_keeps_edges_until_the_retire_timeout() {
        let mut fleet = four(2);
        (fleet.is_rolling, fleet.is_stuck) = (true, true);
        for pod in &mut fleet.pods {
            pod.clients = Some(0);
        }
        assert_eq!(step(&mut fleet, 0).retire, ["a", "b"]);
        assert_eq!(step(&mut fleet, 3599).replicas, 4);
        assert_eq!(step(&mut fleet, 3600).replicas, 2);
    }

    #[test]
    fn without_a_retire_timeout_edges_are_removed_at_once() {
        let mut fleet = four(2);
        fleet.retire_timeout = Duration::ZERO;
        assert_eq!(step(&mut fleet, 0).remove, ["b", "d"]);
    }

    #[test]
    fn eviction_of_a_retiring_edge_takes_no_other_ones_clients() {
        let mut fleet = four(2);
        step(&mut fleet, 0);
        // Its ReplicaSet replaces the evicted Pod.
        fleet.pods.retain(|pod| pod.name != "b");
        fleet.pods.push(EdgePod {
            is_ready: false,
            is_running: false,
            clients: None,
            ..pod("e", 0, None)
        });
        let plan = step(&mut fleet, 10);
        assert_eq!(
            (plan.retire, plan.remove, plan.replicas),
            (vec!["e".to_owned()], vec!["e".to_owned()], 3)
        );
    }
}
