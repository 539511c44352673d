//! URLs of the status, by the type of the Service.

use super::*;

fn urls(spec: Value, services: Vec<Value>) -> Vec<String> {
    let mut input = input(settled());
    input.observed.services = serde_json::from_value(services.into()).unwrap();
    let endpoints = status(&cluster(spec), &input, &at(0)).endpoints;
    endpoints
        .publish
        .into_iter()
        .map(|endpoint| format!("{} {}", endpoint.name, endpoint.url))
        .collect()
}

#[test]
fn urls_depend_on_the_type_of_the_service() {
    let internal = "origin-rtmp-internal rtmp://demo-origin.media.svc:1935/live/{stream}";
    let node_port = json!({"origins": {"service": {"type": "NodePort"}}});
    let service_of = |node_ports, status| vec![service("origin", ports(node_ports), status)];
    assert_eq!(
        urls(json!({}), service_of([None, None], json!({}))),
        [internal]
    );
    assert_eq!(
        urls(node_port, service_of([Some(30001), Some(30002)], json!({}))),
        ["origin-rtmp rtmp://<node>:30001/live/{stream}", internal]
    );
    let balanced = json!({"origins": {"service": {"type": "LoadBalancer"}}});
    assert_eq!(
        urls(balanced.clone(), service_of([Some(1), Some(2)], json!({}))),
        [internal]
    );
    let ready =
        json!({"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}, {"hostname": "lb.example"}]}});
    assert_eq!(
        urls(balanced, service_of([Some(1), Some(2)], ready)),
        [
            "origin-rtmp rtmp://[2001:db8::1]:1935/live/{stream}",
            "origin-rtmp rtmp://lb.example:1935/live/{stream}",
            internal
        ]
    );
}
