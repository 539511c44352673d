//! Which edges retire, return and are removed, step by step.

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
