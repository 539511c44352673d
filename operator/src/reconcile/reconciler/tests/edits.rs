//! Another client that changes an object of a cluster, and insists.

use super::*;

const SERVICE: &str = "services/demo-edge";

/// Changes a field that the operator applies.
fn edit(fixture: &ReconcilerFixture) {
    fixture.api.edit(SERVICE, |service| {
        service["spec"]["ports"][0]["port"] = 9.into();
        let time = "2026-01-01T00:00:00Z";
        service["metadata"]["managedFields"] =
            json!([{"manager": "other-controller", "operation": "Update", "time": time}]);
    });
}

#[tokio::test(start_paused = true)]
async fn object_that_another_client_insists_on_is_restored_a_few_times_a_minute() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    for _ in 0..100 {
        edit(&fixture);
        fixture.reconcile().await;
        tokio::time::advance(Duration::from_secs(3)).await;
    }
    let writes = fixture.api.writes();
    let of = |path: &str| writes.iter().filter(|write| write.ends_with(path)).count();
    assert!((25..=36).contains(&of(SERVICE)), "{writes:?}");
    // The URLs in the status follow the port; the condition stays, and is one event.
    assert!(of("demo/status") <= 11, "{writes:?}");
    assert_eq!(of("events"), 1, "{writes:?}");
    assert_eq!(
        fixture.condition("Degraded"),
        "True EditedRepeatedly: Service demo-edge is changed again and again, by other-controller; it is restored at most 6 times in \
         60 seconds"
    );
    assert!(fixture.condition("Ready").starts_with("True"));

    let mut waited = Duration::ZERO;
    loop {
        let interval = fixture.reconcile().await;
        if fixture.condition("Degraded").starts_with("False") {
            break;
        }
        assert_eq!(interval, Action::requeue(REJECTED_INTERVAL));
        assert!(waited < Duration::from_secs(300), "reported for ever");
        tokio::time::advance(REJECTED_INTERVAL).await;
        waited += REJECTED_INTERVAL;
    }
    let port = &fixture.api.object(SERVICE).unwrap()["spec"]["ports"][0]["port"];
    assert_eq!(*port, 1935);
}

#[tokio::test(start_paused = true)]
async fn few_edits_by_hand_are_undone_at_once() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    for _ in 0..5 {
        edit(&fixture);
        fixture.reconcile().await;
        let port = &fixture.api.object(SERVICE).unwrap()["spec"]["ports"][0]["port"];
        assert_eq!(*port, 1935);
    }
    assert!(fixture.condition("Degraded").starts_with("False"));
}
