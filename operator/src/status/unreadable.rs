//! The status of a cluster whose spec cannot be read: a pure function.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use livecluster_api::conditions;
use serde_json::{Value, json};

use super::condition_status::ConditionStatus;
use super::conditions::set_condition;
use crate::observe::cluster::UnreadableCluster;

/// Returns the conditions of the status that the cluster has. One that cannot be read is left out.
pub fn present_conditions(cluster: &UnreadableCluster) -> Vec<Condition> {
    let conditions = cluster.object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| serde_json::from_value(condition.clone()).ok())
        .collect()
}

/// Returns the conditions of the cluster: it is degraded, and neither ready nor progressing. The others stay.
pub fn unreadable_conditions(cluster: &UnreadableCluster, now: &Time) -> Vec<Condition> {
    let mut found = present_conditions(cluster);
    for (kind, is_true) in [
        (conditions::READY, false),
        (conditions::DEGRADED, true),
        (conditions::PROGRESSING, false),
    ] {
        let status = ConditionStatus::new(
            is_true,
            "UnreadableSpec",
            format!(
                "{}: this version of the operator cannot read the value; the objects of the cluster are not changed",
                cluster.field
            ),
        );
        let generation = cluster.object.metadata.generation;
        set_condition(&mut found, generation, kind, status, now);
    }
    found
}

/// Returns the status that the cluster has, with these conditions.
pub fn unreadable_status(cluster: &UnreadableCluster, conditions: &[Condition]) -> Value {
    let mut status = match &cluster.object.data["status"] {
        Value::Object(status) => status.clone(),
        _ => serde_json::Map::new(),
    };
    status.insert("conditions".to_owned(), json!(conditions));
    let generation = cluster.object.metadata.generation;
    status.insert("observedGeneration".to_owned(), json!(generation));
    Value::Object(status)
}
