//! The number of edges follows their viewers.

use super::retirement::Edges;
use super::*;

#[tokio::test]
async fn edges_are_added_for_their_viewers_and_retire_without_them() {
    let mut edges = Edges::with(&[("a", 300), ("b", 300)]).await;
    edges.fixture.edit_spec(|spec| {
        spec["edges"] = json!({"autoscaling": {
            "maxReplicas": 6, "targetViewers": 200, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}
        }});
    });
    edges.fixture.reconcile().await;
    // The edges that exist stay until their load is known.
    assert_eq!(edges.writes(), Vec::<String>::new());
    edges.decide();
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH deployments/demo-edge/scale"]);
    assert_eq!(
        edges.fixture.api.object(EDGE).unwrap()["spec"]["replicas"],
        4
    );
    assert_eq!(
        edges.fixture.condition("AutoscalingActive"),
        "True Active: wanted: 4 edges; allowed: 1 to 6"
    );
    edges.add("c", 100);
    edges.add("d", 7);
    edges.fixture.settle();
    edges.fixture.reconcile().await;
    edges.viewers.insert("a", 10);
    edges.scrape().await;
    edges.decide();
    edges.decide();
    edges.writes();
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH pods/d"]);
    let cluster = edges.fixture.api.object(CLUSTER).unwrap();
    let status = &cluster["status"];
    assert_eq!(status["autoscaling"]["desiredReplicas"], 3);
    assert_eq!(status["edges"]["ready"], "3/3");
}

#[tokio::test]
async fn limit_of_the_edges_is_reported() {
    let edges = Edges::with(&[("a", 300), ("b", 300)]).await;
    edges.fixture.edit_spec(|spec| {
        spec["edges"] = json!({"autoscaling": {"maxReplicas": 3, "targetViewers": 100}});
    });
    edges.fixture.reconcile().await;
    edges.decide();
    edges.fixture.api.requests();
    edges.fixture.reconcile().await;
    let writes = edges.fixture.api.writes();
    assert!(writes.contains(&"POST events".to_owned()), "{writes:?}");
    assert_eq!(
        edges.fixture.condition("AutoscalingActive"),
        "True AtMaxReplicas: the load needs more than maxReplicas, 3 edges"
    );
}

#[tokio::test]
async fn announced_event_is_reported_before_the_next_decision() {
    let edges = Edges::with(&[("a", 3), ("b", 3)]).await;
    let autoscaling = |events: Value| {
        edges.fixture.edit_spec(|spec| {
            let targets = json!({"maxReplicas": 3, "targetViewers": 100, "events": events});
            spec["edges"] = json!({"autoscaling": targets});
        });
    };
    autoscaling(json!([]));
    edges.fixture.reconcile().await;
    edges.decide();
    let event = json!({"startsAt": "2999-01-01T00:00:00Z", "duration": "1h", "viewers": 1000});
    autoscaling(json!([event]));
    edges.fixture.reconcile().await;
    let condition = edges.fixture.condition("EventCapacityReady");
    assert!(
        condition.starts_with("False EventExceedsMaxReplicas: 1000 viewers"),
        "{condition}"
    );
}

#[tokio::test]
async fn next_leader_continues_from_the_status() {
    let edges = Edges::with(&[("a", 300), ("b", 300)]).await;
    edges.fixture.edit_spec(|spec| {
        spec["edges"] = json!({"autoscaling": {"maxReplicas": 9, "targetViewers": 200}});
    });
    edges.fixture.api.edit(CLUSTER, |cluster| {
        cluster["status"]["autoscaling"] = json!({"desiredReplicas": 5});
    });
    edges.fixture.reconcile().await;
    assert_eq!(edges.writes(), ["PATCH deployments/demo-edge/scale"]);
    assert_eq!(
        edges.fixture.api.object(EDGE).unwrap()["spec"]["replicas"],
        5
    );
}
