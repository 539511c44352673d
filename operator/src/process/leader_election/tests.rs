//! Electors against a fake API server, with a paused clock.

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tower::Layer;

use super::*;
use crate::k8s::fake_api::FakeApi;

const LEASE_PATH: &str = "leases/operator";

fn elector(client: &Client, identity: &str) -> LeaderElector {
    fenced_elector(client, identity, &WriteFence::closed())
}

fn fenced_elector(client: &Client, identity: &str, fence: &WriteFence) -> LeaderElector {
    let api = Api::namespaced(client.clone(), "system");
    LeaderElector::new(
        api,
        "operator".to_owned(),
        identity.to_owned(),
        BTreeMap::from([("watches".to_owned(), identity.to_owned())]),
        fence.clone(),
    )
}

fn holder(api: &FakeApi) -> String {
    let lease = api.object(LEASE_PATH).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()
}

/// Acquires or renews the Lease as another operator.
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
async fn first_candidate_becomes_leader_at_once() {
    let (client, api) = FakeApi::start();
    elector(&client, "a").acquire(|| {}).await;
    assert_eq!(holder(&api), "a");
}

#[tokio::test(start_paused = true)]
async fn lease_has_the_annotations_of_its_holder() {
    let (client, api) = FakeApi::start();
    let annotations = || api.object(LEASE_PATH).unwrap()["metadata"]["annotations"].clone();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    assert_eq!(annotations(), json!({"watches": "a"}));
    a.release().await;
    api.edit(LEASE_PATH, |lease| {
        lease["metadata"]["annotations"]["theirs"] = "x".into();
    });
    elector(&client, "b").acquire(|| {}).await;
    assert_eq!(annotations(), json!({"watches": "b", "theirs": "x"}));
}

#[tokio::test(start_paused = true)]
async fn renewed_lease_is_not_acquired() {
    let (client, api) = FakeApi::start();
    let mut b = elector(&client, "b");
    for second in 0..20 {
        renew(&api, "a", second);
        let waited = tokio::time::timeout(Duration::from_secs(10), b.acquire(|| {})).await;
        assert!(waited.is_err(), "at {second}");
    }
    assert_eq!(holder(&api), "a");
}

/// The times in the Lease are years old. They are ignored, as they come from the clock of another host.
#[tokio::test(start_paused = true)]
async fn lease_that_is_not_renewed_is_acquired_after_its_duration() {
    let (client, api) = FakeApi::start();
    renew(&api, "a", 0);
    let start = Instant::now();
    elector(&client, "b").acquire(|| {}).await;
    let waited = start.elapsed();
    assert!(
        waited >= LEASE_DURATION && waited <= LEASE_DURATION + RETRY_INTERVAL,
        "{waited:?}"
    );
    assert_eq!(holder(&api), "b");
    assert_eq!(
        api.object(LEASE_PATH).unwrap()["spec"]["leaseTransitions"],
        4
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_two_candidates_becomes_leader() {
    let (client, api) = FakeApi::start();
    renew(&api, "", 0);
    let (mut a, mut b) = (elector(&client, "a"), elector(&client, "b"));
    let stop = CancellationToken::new();
    tokio::select! {
        () = async { a.acquire(|| {}).await; a.hold(&stop, || {}).await.unwrap(); } => unreachable!(),
        () = async { b.acquire(|| {}).await; b.hold(&stop, || {}).await.unwrap(); } => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(120)) => {}
    }
    let transitions = api.object(LEASE_PATH).unwrap()["spec"]["leaseTransitions"].clone();
    assert_eq!(transitions, 4, "the leadership changed more than once");
}

#[tokio::test(start_paused = true)]
async fn released_lease_is_acquired_at_once() {
    let (client, api) = FakeApi::start();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    let stop = CancellationToken::new();
    stop.cancel();
    a.hold(&stop, || {}).await.unwrap();
    assert_eq!(holder(&api), "");
    let start = Instant::now();
    elector(&client, "b").acquire(|| {}).await;
    assert!(start.elapsed() < RETRY_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn leader_that_cannot_renew_stops() {
    let (client, api) = FakeApi::start();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    for method in [Method::GET, Method::PUT] {
        api.refuse(
            method,
            LEASE_PATH,
            500,
            "InternalError",
            "etcd is unavailable",
        );
    }
    let start = Instant::now();
    let lost = a.hold(&CancellationToken::new(), || {}).await.unwrap_err();
    assert_eq!(lost, LeadershipLost::Expired);
    assert!(start.elapsed() <= RENEW_DEADLINE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn leader_whose_lease_was_taken_stops() {
    let (client, api) = FakeApi::start();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    renew(&api, "b", 1);
    let lost = a.hold(&CancellationToken::new(), || {}).await.unwrap_err();
    assert_eq!(lost, LeadershipLost::Taken);
    assert_eq!(holder(&api), "b");
}

#[tokio::test(start_paused = true)]
async fn annotated_lease_is_still_held() {
    let (client, api) = FakeApi::start();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    let stop = CancellationToken::new();
    tokio::select! {
        lost = a.hold(&stop, || {}) => panic!("{lost:?}"),
        () = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                api.edit(LEASE_PATH, |lease| lease["metadata"]["annotations"]["note"] = "x".into());
            }
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn restarted_leader_becomes_leader_at_once() {
    let (client, _api) = FakeApi::start();
    elector(&client, "a").acquire(|| {}).await;
    let start = Instant::now();
    elector(&client, "a").acquire(|| {}).await;
    assert!(start.elapsed() < RETRY_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn leader_stops_when_the_api_server_does_not_respond() {
    let (client, api) = FakeApi::start();
    let mut a = elector(&client, "a");
    a.acquire(|| {}).await;
    api.stop_responding();
    let start = Instant::now();
    let lost = a.hold(&CancellationToken::new(), || {}).await.unwrap_err();
    assert_eq!(lost, LeadershipLost::Expired);
    assert_eq!(start.elapsed(), RENEW_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn writes_are_allowed_from_the_begin_of_the_attempt_not_from_its_response() {
    let (client, api) = FakeApi::start();
    let fence = WriteFence::closed();
    let mut a = fenced_elector(&client, "a", &fence);
    api.stop_responding();
    let start = Instant::now();
    let respond = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        api.respond_again();
    };
    tokio::join!(a.acquire(|| {}), respond);
    assert!(start.elapsed() >= Duration::from_secs(3));
    assert_eq!(fence.deadline(), start + RENEW_DEADLINE);
}

/// A future that is not polled is like a frozen process: its clock goes on, its tasks do not.
#[tokio::test(start_paused = true)]
async fn leader_that_was_frozen_past_its_lease_writes_nothing() {
    let (service, api) = FakeApi::service();
    let fence = WriteFence::closed();
    let leader_client = Client::new(fence.layer(service.clone()), "media");
    let client = Client::new(service, "system");
    let maps: Api<ConfigMap> = Api::default_namespaced(leader_client);
    let document = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let (params, patch) = (PatchParams::apply("test"), Patch::Apply(document));

    let mut a = fenced_elector(&client, "a", &fence);
    a.acquire(|| {}).await;
    let stop = CancellationToken::new();
    let mut holding = Box::pin(a.hold(&stop, || {}));
    let renewals = tokio::time::timeout(Duration::from_secs(60), &mut holding);
    assert!(renewals.await.is_err());
    maps.patch("a", &params, &patch).await.unwrap();

    elector(&client, "b").acquire(|| {}).await;
    assert_eq!(holder(&api), "b");
    assert!(Instant::now() >= fence.deadline() + (LEASE_DURATION - RENEW_DEADLINE));
    api.requests();
    maps.patch("a", &params, &patch).await.unwrap_err();
    assert_eq!(holding.await, Err(LeadershipLost::Expired));
    assert_eq!(api.writes(), Vec::<String>::new());
}
