//! Candidates against a scripted API, on a clock that jumps.

use http::Method;
use serde_json::json;

use super::*;
use crate::k8s::fake_api::FakeApi;
use crate::monitoring::metrics::Metrics;

const LEASE_PATH: &str = "leases/operator";

fn candidate(client: &kube::Client, identity: &str) -> Candidate {
    let calls = Calls::new(Metrics::new().unwrap());
    let api = Api::namespaced(client.clone(), "system");
    Candidate::new(api, calls, "operator".to_owned(), identity.to_owned())
}

fn holder(api: &FakeApi) -> String {
    let lease = api.object(LEASE_PATH).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()
}

/// Somebody else takes or renews the Lease.
fn renew(api: &FakeApi, holder: &str, time: i64) {
    api.put(
        LEASE_PATH,
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "operator"},
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3,
                "renewTime": format!("2020-01-01T00:00:{time:02}.000000Z")
            }
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_at_once() {
    let (client, api) = FakeApi::start();
    candidate(&client, "a").acquire(|| {}).await;
    assert_eq!(holder(&api), "a");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_is_left_alone() {
    let (client, api) = FakeApi::start();
    let mut b = candidate(&client, "b");
    for second in 0..20 {
        renew(&api, "a", second);
        let waited = tokio::time::timeout(Duration::from_secs(10), b.acquire(|| {})).await;
        assert!(waited.is_err(), "at {second}");
    }
    assert_eq!(holder(&api), "a");
}

/// The Lease's own times are years old: they say nothing, as they are another machine's.
#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_is_taken_after_its_time() {
    let (client, api) = FakeApi::start();
    renew(&api, "a", 0);
    let start = Instant::now();
    candidate(&client, "b").acquire(|| {}).await;
    let waited = start.elapsed();
    assert!(waited >= LEASE && waited <= LEASE + RETRY, "{waited:?}");
    assert_eq!(holder(&api), "b");
    assert_eq!(
        api.object(LEASE_PATH).unwrap()["spec"]["leaseTransitions"],
        4
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_one_leads() {
    let (client, api) = FakeApi::start();
    renew(&api, "", 0);
    let (mut a, mut b) = (candidate(&client, "a"), candidate(&client, "b"));
    let stop = CancellationToken::new();
    tokio::select! {
        () = async { a.acquire(|| {}).await; a.lead(&stop, || {}).await.unwrap(); } => unreachable!(),
        () = async { b.acquire(|| {}).await; b.lead(&stop, || {}).await.unwrap(); } => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(120)) => {}
    }
    let transitions = api.object(LEASE_PATH).unwrap()["spec"]["leaseTransitions"].clone();
    assert_eq!(transitions, 4, "the leadership went to and fro");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_lets_the_next_one_start_at_once() {
    let (client, api) = FakeApi::start();
    let mut a = candidate(&client, "a");
    a.acquire(|| {}).await;
    let stop = CancellationToken::new();
    stop.cancel();
    a.lead(&stop, || {}).await.unwrap();
    assert_eq!(holder(&api), "");
    let start = Instant::now();
    candidate(&client, "b").acquire(|| {}).await;
    assert!(start.elapsed() < RETRY);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_anybody_else_starts() {
    let (client, api) = FakeApi::start();
    let mut a = candidate(&client, "a");
    a.acquire(|| {}).await;
    for method in [Method::GET, Method::PUT] {
        api.refuse(method, LEASE_PATH, 500, "InternalError", "etcd is away");
    }
    let start = Instant::now();
    let lost = a.lead(&CancellationToken::new(), || {}).await.unwrap_err();
    assert_eq!(lost, Lost::Expired);
    assert!(start.elapsed() <= RENEW_DEADLINE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stops() {
    let (client, api) = FakeApi::start();
    let mut a = candidate(&client, "a");
    a.acquire(|| {}).await;
    renew(&api, "b", 1);
    let lost = a.lead(&CancellationToken::new(), || {}).await.unwrap_err();
    assert_eq!(lost, Lost::Taken);
    assert_eq!(holder(&api), "b");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_annotates_is_still_held() {
    let (client, api) = FakeApi::start();
    let mut a = candidate(&client, "a");
    a.acquire(|| {}).await;
    let stop = CancellationToken::new();
    tokio::select! {
        lost = a.lead(&stop, || {}) => panic!("{lost:?}"),
        () = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                api.edit(LEASE_PATH, |lease| lease["metadata"]["annotations"]["note"] = "x".into());
            }
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_restarted_goes_on_at_once() {
    let (client, _api) = FakeApi::start();
    candidate(&client, "a").acquire(|| {}).await;
    let start = Instant::now();
    candidate(&client, "a").acquire(|| {}).await;
    assert!(start.elapsed() < RETRY);
}
