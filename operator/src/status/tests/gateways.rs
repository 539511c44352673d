//! Routes of the Gateway API, and the URLs of their Gateways.

use super::*;
use crate::desired::gateway_kind::{GatewayKind, GatewayVersion, ServedGatewayApi};
use crate::observe::gateways::{GatewayState, ObservedGateway, ObservedGateways};

fn served() -> ServedGatewayApi {
    let mut served = ServedGatewayApi::default();
    for kind in GatewayKind::ALL {
        served.insert(kind, GatewayVersion::V1);
    }
    served
}

/// A route with what a controller says about it: a reference to the Gateway, and conditions as "Accepted=True".
fn route(name: &str, parent: Value, conditions: &[&str]) -> Value {
    let conditions = conditions.iter().map(|text| {
        let (kind, status) = text.split_once('=').unwrap();
        json!({"type": kind, "status": status, "reason": "Reason", "message": "message", "observedGeneration": 1})
    });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "media", "generation": 1},
        "status": {"parents": [{"parentRef": parent, "conditions": conditions.collect::<Vec<_>>()}]}
    })
}

fn gateway(addresses: &[&str], listeners: Value) -> ObservedGateway {
    ObservedGateway {
        namespace: "infra".to_owned(),
        name: "public".to_owned(),
        state: GatewayState::Found {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            listeners: serde_json::from_value(listeners).unwrap(),
        },
    }
}

fn input_with(routes: Vec<Value>, gateway: ObservedGateway) -> StatusInput {
    let mut observed = settled();
    observed.gateways = ObservedGateways {
        served: served(),
        routes: serde_json::from_value(routes.into()).unwrap(),
        gateways: vec![gateway],
    };
    input(observed)
}

fn parent(port: Option<u16>) -> Value {
    match port {
        Some(port) => json!({"name": "public", "namespace": "infra", "port": port}),
        None => json!({"name": "public", "namespace": "infra"}),
    }
}

const ACCEPTED: &[&str] = &["Accepted=True", "ResolvedRefs=True"];

fn spec() -> Value {
    json!({"gateway": {"parentRefs": [{"name": "public", "namespace": "infra"}]}})
}

fn listeners() -> Value {
    json!([
        {"name": "http", "port": 80, "protocol": "HTTP"},
        {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.example.com"},
        {"name": "rtmp", "port": 1935, "protocol": "TCP"},
        {"name": "other", "port": 1936, "protocol": "TCP"},
    ])
}

fn urls(status: &LiveClusterStatus) -> Vec<String> {
    let endpoints = &status.endpoints;
    let urls = endpoints.publish.iter().chain(&endpoints.play);
    urls.map(|endpoint| format!("{} {}", endpoint.name, endpoint.url))
        .collect()
}

#[test]
fn accepted_routes_are_reached_at_the_addresses_of_their_gateway() {
    let routes = vec![
        route("demo-edge-http", parent(None), ACCEPTED),
        route("demo-edge-rtmp", parent(Some(1935)), ACCEPTED),
    ];
    let input = input_with(routes, gateway(&["2001:db8::1"], listeners()));
    let status = status(&cluster(spec()), &input, &at(0));
    assert_eq!(
        condition(&status, "RoutesAccepted"),
        "True Accepted: accepted by their Gateways: demo-edge-http, demo-edge-rtmp"
    );
    assert!(condition(&status, "Degraded").starts_with("False"));
    assert_eq!(
        urls(&status),
        [
            "gateway-edge-rtmp rtmp://[2001:db8::1]:1935/live/{stream}",
            "gateway-edge-https-flv https://[2001:db8::1]:443/live/{stream}.flv",
            "gateway-edge-player-https https://[2001:db8::1]:443/",
            "gateway-edge-http-flv http://[2001:db8::1]:80/live/{stream}.flv",
            "gateway-edge-rtmp rtmp://[2001:db8::1]:1935/live/{stream}",
            "gateway-edge-player http://[2001:db8::1]:80/",
        ]
    );
    let first = status.endpoints.publish_url.unwrap();
    assert_eq!(first, "rtmp://[2001:db8::1]:1935/live/{stream}");
}

#[test]
fn host_names_are_those_of_the_spec_and_of_the_listener() {
    let mut spec = spec();
    spec["gateway"]["hostnames"] = json!(["*.example.com", "live.example.com", "live.example.net"]);
    spec["gateway"]["parentRefs"][0]["routes"] = json!(["edge-http"]);
    let routes = || vec![route("demo-edge-http", parent(None), ACCEPTED)];
    let input = input_with(routes(), gateway(&["192.0.2.1"], listeners()));
    assert_eq!(
        urls(&status(&cluster(spec.clone()), &input, &at(0))),
        [
            "gateway-edge-https-flv https://live.example.com:443/live/{stream}.flv",
            "gateway-edge-player-https https://live.example.com:443/",
            "gateway-edge-http-flv http://live.example.com:80/live/{stream}.flv",
            "gateway-edge-http-flv http://live.example.net:80/live/{stream}.flv",
            "gateway-edge-player http://live.example.com:80/",
            "gateway-edge-player http://live.example.net:80/",
        ]
    );
    spec["gateway"]["hostnames"] = json!([]);
    let named =
        json!([{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "tv.example.com"}]);
    let input = input_with(routes(), gateway(&["192.0.2.1"], named));
    assert_eq!(
        urls(&status(&cluster(spec), &input, &at(0))),
        [
            "gateway-edge-http-flv http://tv.example.com:80/live/{stream}.flv",
            "gateway-edge-player http://tv.example.com:80/",
        ]
    );
}

#[test]
fn route_that_is_not_accepted_is_named_and_has_no_url() {
    let of = |conditions: &[&str]| {
        let routes = vec![
            route("demo-edge-http", parent(None), conditions),
            route("demo-edge-rtmp", parent(Some(1935)), ACCEPTED),
        ];
        let input = input_with(routes, gateway(&["192.0.2.1"], listeners()));
        let status = status(&cluster(spec()), &input, &at(0));
        let has_url = urls(&status).iter().any(|url| url.contains("http-flv"));
        let degraded = condition(&status, "Degraded");
        let accepted = condition(&status, "RoutesAccepted");
        assert_eq!(
            degraded.strip_prefix("True "),
            accepted.strip_prefix("False ")
        );
        (accepted, has_url)
    };
    let refused = "False RoutesNotAccepted: Gateway infra/public does not accept HTTPRoute demo-edge-http: Reason: message";
    assert_eq!(of(&["Accepted=False"]), (refused.to_owned(), false));
    assert_eq!(
        of(&["Accepted=True", "ResolvedRefs=False"]),
        (refused.to_owned(), false)
    );
    assert_eq!(
        of(&[]).0,
        "False RoutesPending: HTTPRoute demo-edge-http waits for the controller of Gateway infra/public"
    );
}

#[test]
fn answer_about_an_older_generation_or_another_listener_does_not_count() {
    let mut older = route("demo-edge-http", parent(None), ACCEPTED);
    older["metadata"]["generation"] = 2.into();
    let other = route("demo-edge-rtmp", parent(Some(1936)), ACCEPTED);
    let input = input_with(vec![older, other], gateway(&["192.0.2.1"], listeners()));
    assert_eq!(
        condition_of(spec(), &input, "RoutesAccepted"),
        "False RoutesPending: HTTPRoute demo-edge-http waits for the controller of Gateway infra/public; \
         TCPRoute demo-edge-rtmp waits for the controller of Gateway infra/public"
    );
}

#[test]
fn reason_why_a_route_cannot_be_made_is_named() {
    let mut tls = spec();
    tls["tls"] = json!({"secretName": "certificate"});
    let input = input_with(vec![], gateway(&[], listeners()));
    let accepted = condition_of(tls, &input, "RoutesAccepted");
    assert!(
        accepted
            .starts_with("False HostnameMissing: route edge-https needs spec.gateway.hostnames"),
        "{accepted}"
    );
    let mut closed = spec();
    closed["gateway"]["parentRefs"][0]["routes"] = json!(["edge-rtmps"]);
    assert_eq!(
        condition_of(closed, &input, "RoutesAccepted"),
        "False PortClosed: route edge-rtmps leads to a closed port; spec.tls decides which ports are open"
    );
    assert_eq!(
        condition_of(spec(), &super::input(settled()), "RoutesAccepted"),
        "False GatewayApiMissing: the Kubernetes cluster does not serve HTTPRoute; install the CustomResourceDefinitions of the \
         Gateway API; the Kubernetes cluster does not serve TCPRoute; install the CustomResourceDefinitions of the Gateway API"
    );
}

#[test]
fn state_of_the_gateway_is_told() {
    let routes = || {
        vec![
            route("demo-edge-http", parent(None), ACCEPTED),
            route("demo-edge-rtmp", parent(Some(1935)), ACCEPTED),
        ]
    };
    let mut found = gateway(&[], listeners());
    let input = input_with(routes(), found.clone());
    assert_eq!(
        condition_of(spec(), &input, "Degraded"),
        "True GatewayAddressPending: Gateways without an address yet: infra/public"
    );
    found.state = GatewayState::Missing;
    let input = input_with(routes(), found.clone());
    assert_eq!(
        condition_of(spec(), &input, "RoutesAccepted"),
        "False GatewayNotFound: Gateway infra/public does not exist"
    );
    found.state = GatewayState::Unreadable;
    let input = input_with(routes(), found);
    let accepted = condition_of(spec(), &input, "RoutesAccepted");
    assert!(
        accepted.starts_with("True Accepted")
            && accepted.ends_with(
                "the operator may not read Gateway infra/public, so that its addresses are unknown"
            ),
        "{accepted}"
    );
}

#[test]
fn cluster_without_a_gateway_has_no_condition_of_routes() {
    let status = status(&cluster(json!({})), &input(settled()), &at(0));
    let mut conditions = status.conditions.iter();
    assert!(!conditions.any(|it| it.type_ == "RoutesAccepted"));
}
