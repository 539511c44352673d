//! The condition of Pods whose memory is short.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use livecluster_api::StreamsStatus;

use super::*;
use crate::status::transitions::transitions;

fn with_pressure(old: &LiveCluster, streams: Option<StreamsStatus>) -> LiveClusterStatus {
    let input = StatusInput {
        observed: settled(),
        streams,
        ..StatusInput::default()
    };
    status(old, &input, &at(0))
}

fn condition(status: &LiveClusterStatus) -> &Condition {
    let mut conditions = status.conditions.iter();
    conditions
        .find(|found| found.type_ == "MemoryPressure")
        .unwrap()
}

#[test]
fn pod_whose_memory_is_short_is_reported_until_it_has_enough() {
    let mut cluster = cluster(json!({}));
    let short = StreamsStatus {
        memory_pressure_edges: 2,
        ..StreamsStatus::default()
    };
    let before = with_pressure(&cluster, None);
    let now = with_pressure(&cluster, Some(short));
    let reported = condition(&now);
    assert_eq!(
        (&*reported.status, &*reported.reason),
        ("True", "MediaMemoryShort")
    );
    assert!(
        reported.message.contains("origins: 0, edges: 2"),
        "{}",
        reported.message
    );
    let events = transitions(&before.conditions, &now.conditions);
    assert!(
        events
            .iter()
            .any(|event| event.reason == "MediaMemoryShort")
    );

    // An operator that has just started has no samples yet.
    cluster.status = Some(now);
    assert_eq!(condition(&with_pressure(&cluster, None)).status, "True");
    let enough = with_pressure(&cluster, Some(StreamsStatus::default()));
    let reported = condition(&enough);
    assert_eq!(
        (&*reported.status, &*reported.reason),
        ("False", "SufficientMemory")
    );
}
