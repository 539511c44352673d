//! Ports of a Service that were changed by hand: a port's number is its key, so a changed one is another port with the name of ours.
//! A server-side apply would add ours beside it, which the API server rejects.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};

/// Returns the strategic merge patch that removes the ports whose name or node port the document has under another number; `None`
/// when there are none. A removal owns no field.
pub(super) fn without_colliding_ports(live: &DynamicObject, document: &Value) -> Option<Value> {
    let ours = ports(&document["spec"]);
    let numbers: BTreeSet<i64> = ours.iter().filter_map(number).collect();
    let collides = |port: &&Value| {
        let is_same =
            |field: &str, our: &Value| !port[field].is_null() && port[field] == our[field];
        let mut ours = ours.iter();
        ours.any(|our| is_same("name", our) || is_same("nodePort", our))
    };
    let theirs = ports(&live.data["spec"]).iter();
    let removed: Vec<Value> = theirs
        .filter(|port| number(port).is_some_and(|number| !numbers.contains(&number)))
        .filter(collides)
        .map(|port| json!({"$patch": "delete", "port": port["port"]}))
        .collect();
    (!removed.is_empty()).then(|| json!({"spec": {"ports": removed}}))
}

/// Returns the document with the node ports that the ports of these names have: the API server would assign others to ports that it
/// takes for new ones.
pub(super) fn with_node_ports(live: &DynamicObject, document: &Value) -> Value {
    let mut document = document.clone();
    let theirs = ports(&live.data["spec"]);
    if live.data["spec"]["type"] != document["spec"]["type"] {
        return document;
    }
    let ours = document["spec"]["ports"].as_array_mut();
    for port in ours.into_iter().flatten() {
        let namesake = theirs.iter().find(|it| it["name"] == port["name"]);
        if let Some(node_port) = namesake.and_then(|it| it["nodePort"].as_i64())
            && port["nodePort"].is_null()
        {
            port["nodePort"] = node_port.into();
        }
    }
    document
}

fn ports(spec: &Value) -> &[Value] {
    spec["ports"].as_array().map_or(&[], Vec::as_slice)
}

fn number(port: &Value) -> Option<i64> {
    port["port"].as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(ports: Value) -> DynamicObject {
        let live = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-edge"},
            "spec": {"type": "NodePort", "ports": ports}
        });
        serde_json::from_value(live).unwrap()
    }

    fn ours() -> Value {
        json!({"spec": {"type": "NodePort", "ports": [
            {"name": "rtmp", "port": 1935}, {"name": "http", "port": 8080, "nodePort": 30080}
        ]}})
    }

    fn patch(ports: Value) -> Option<Value> {
        without_colliding_ports(&live(ports), &ours())
    }

    #[test]
    fn port_keeps_the_node_port_of_its_name_where_the_spec_names_none() {
        let changed = json!([
            {"name": "rtmp", "port": 1936, "nodePort": 31935}, {"name": "http", "port": 8081, "nodePort": 31080}
        ]);
        let mut expected = ours();
        expected["spec"]["ports"][0]["nodePort"] = 31935.into();
        assert_eq!(with_node_ports(&live(changed.clone()), &ours()), expected);
        let mut internal = ours();
        internal["spec"]["type"] = "ClusterIP".into();
        assert_eq!(with_node_ports(&live(changed), &internal), internal);
    }

    #[test]
    fn only_ports_that_stand_in_the_way_are_removed() {
        let rtmp = json!({"name": "rtmp", "port": 1935, "nodePort": 31935});
        assert_eq!(patch(json!([rtmp, {"name": "theirs", "port": 9}])), None);
        let changed = json!([rtmp, {"name": "http", "port": 8081}, {"name": "theirs", "port": 9}]);
        let expected = json!({"spec": {"ports": [{"$patch": "delete", "port": 8081}]}});
        assert_eq!(patch(changed), Some(expected.clone()));
        let taken = json!([rtmp, {"name": "web", "port": 8081, "nodePort": 30080}]);
        assert_eq!(patch(taken), Some(expected));
    }
}
