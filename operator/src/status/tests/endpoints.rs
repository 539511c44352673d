//! The URLs of clusters.

use super::*;

/// Public URLs to publish to, and the one of the column.
fn publish_urls(spec: Value, services: Vec<Value>, pods: Vec<Value>) -> (Vec<String>, String) {
    let input = input(observed(vec![], services, pods));
    let endpoints = status(&cluster(spec), &input, &at(0)).endpoints;
    let in_cluster = &endpoints.in_cluster.publish;
    assert_eq!(in_cluster[0].url, IN_CLUSTER);
    let urls = endpoints.publish.into_iter();
    let urls = urls.map(|endpoint| format!("{} {}", endpoint.name, endpoint.url));
    (urls.collect(), endpoints.publish_url.unwrap())
}

const IN_CLUSTER: &str = "rtmp://demo-origin.media.svc:1935/live/{stream}";

#[test]
fn urls_depend_on_the_type_of_the_service() {
    let urls = |spec: &Value, node_ports, status| {
        let services = vec![service("origin", ports(node_ports), status)];
        publish_urls(spec.clone(), services, vec![]).0
    };
    assert_eq!(
        urls(&json!({}), [None, None], json!({})),
        Vec::<String>::new()
    );
    let named =
        json!({"origins": {"service": {"type": "NodePort", "externalHostname": "a.example"}}});
    assert_eq!(
        urls(&named, [Some(30001), Some(30002)], json!({})),
        ["origin-rtmp rtmp://a.example:30001/live/{stream}"]
    );
    let balanced = json!({"origins": {"service": {"type": "LoadBalancer"}}});
    assert_eq!(
        urls(&balanced, [Some(1), Some(2)], json!({})),
        Vec::<String>::new()
    );
    let ready =
        json!({"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}, {"hostname": "lb.example"}]}});
    assert_eq!(
        urls(&balanced, [Some(1), Some(2)], ready),
        [
            "origin-rtmp rtmp://[2001:db8::1]:1935/live/{stream}",
            "origin-rtmp rtmp://lb.example:1935/live/{stream}"
        ]
    );
}

#[test]
fn urls_with_tls_are_first() {
    let spec = json!({
        "tls": {"secretName": "certificate"},
        "edges": {"service": {"type": "LoadBalancer", "externalHostname": "live.example"}},
    });
    let ports = json!({"ports": [
        {"name": "rtmp", "port": 1935}, {"name": "http", "port": 8080},
        {"name": "rtmps", "port": 1936}, {"name": "https", "port": 443},
    ]});
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let services = vec![service("edge", ports, ingress)];
    let input = input(observed(vec![], services, vec![]));
    let endpoints = status(&cluster(spec), &input, &at(0)).endpoints;
    let play = endpoints.play.iter();
    assert_eq!(
        play.map(|play| format!("{} {}", play.name, play.url))
            .collect::<Vec<_>>(),
        [
            "edge-https-flv https://live.example:443/live/{stream}.flv",
            "edge-rtmps rtmps://live.example:1936/live/{stream}",
            "edge-player-https https://live.example:443/",
            "edge-http-flv http://live.example:8080/live/{stream}.flv",
            "edge-rtmp rtmp://live.example:1935/live/{stream}",
            "edge-player http://live.example:8080/",
        ]
    );
    let first = endpoints.publish_url.unwrap();
    assert_eq!(first, "rtmps://live.example:1936/live/{stream}");
}

#[test]
fn node_port_is_reached_at_the_nodes_of_ready_pods() {
    let spec = json!({"edges": {"service": {"type": "NodePort"}}});
    let services = || {
        vec![
            service("origin", ports([None, None]), json!({})),
            service("edge", ports([Some(30001), Some(30002)]), json!({})),
        ]
    };
    let on = |node: &str, ready: &str| {
        let status = json!({"hostIP": node, "conditions": [{"type": "Ready", "status": ready}]});
        pod("edge", "demo-edge", status, false)
    };
    let pods = vec![
        on("192.0.2.2", "True"),
        on("192.0.2.9", "False"),
        on("192.0.2.1", "True"),
    ];
    let (urls, first) = publish_urls(spec.clone(), services(), pods);
    assert_eq!(
        urls,
        [
            "edge-rtmp rtmp://192.0.2.1:30001/live/{stream}",
            "edge-rtmp rtmp://192.0.2.2:30001/live/{stream}"
        ]
    );
    assert_eq!(first, "rtmp://192.0.2.1:30001/live/{stream}");
    let (urls, first) = publish_urls(spec, services(), vec![]);
    assert_eq!((urls, first.as_str()), (Vec::new(), IN_CLUSTER));
}
