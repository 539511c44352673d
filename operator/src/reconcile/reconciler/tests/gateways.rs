//! Routes of the Gateway API.

use super::*;

const HTTP: &str = "httproutes/demo-edge-http";
const HTTPS: &str = "tlsroutes/demo-edge-https";
const RTMP: &str = "tcproutes/demo-edge-rtmp";
const RTMPS: &str = "tlsroutes/demo-edge-rtmps";
const GATEWAY: &str = "gateways/public";
const ALL: [&str; 4] = ["gateways", "httproutes", "tlsroutes", "tcproutes"];

fn spec() -> Value {
    json!({"gateway": {"parentRefs": [{"name": "public", "namespace": "infra"}]}})
}

fn put_gateway(fixture: &ReconcilerFixture, addresses: Value) {
    let listeners = json!([
        {"name": "http", "port": 80, "protocol": "HTTP"},
        {"name": "rtmp", "port": 1935, "protocol": "TCP"},
    ]);
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "infra"},
        "spec": {"listeners": listeners}, "status": {"addresses": addresses}
    });
    fixture.api.put(GATEWAY, gateway);
}

/// Acts as the controller of the Gateway: accepts a route.
fn accept(fixture: &ReconcilerFixture, path: &str) {
    fixture.api.edit(path, |route| {
        let generation = route["metadata"]["generation"].clone();
        let conditions = ["Accepted", "ResolvedRefs"].map(|kind| {
            json!({"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation})
        });
        let parents = route["spec"]["parentRefs"].as_array().unwrap().iter();
        let parents = parents.map(|parent| json!({"parentRef": parent, "conditions": conditions}));
        route["status"] = json!({"parents": parents.collect::<Vec<_>>()});
    });
}

/// Returns a settled cluster whose routes are accepted, with an empty list of requests.
async fn accepted() -> ReconcilerFixture {
    let fixture = ReconcilerFixture::new(spec());
    fixture.api.serve_gateway_api("v1", &ALL);
    put_gateway(
        &fixture,
        json!([{"type": "IPAddress", "value": "192.0.2.1"}]),
    );
    fixture.reconcile().await;
    fixture.settle();
    accept(&fixture, HTTP);
    accept(&fixture, RTMP);
    fixture.reconcile().await;
    fixture.api.requests();
    fixture
}

#[tokio::test]
async fn routes_lead_from_the_gateways_to_the_services() {
    let fixture = ReconcilerFixture::new(json!({
        "gateway": {
            "hostnames": ["live.example.com"],
            "parentRefs": [
                {"name": "public", "namespace": "infra", "sectionName": "web", "routes": ["edge-http"]},
                {"name": "media", "routes": ["edge-http", "edge-https", "edge-rtmp", "edge-rtmps"]},
                {"name": "media", "sectionName": "publish", "routes": ["origin-rtmp"]},
            ],
        },
        "tls": {"secretName": "certificate"},
        "edges": {"service": {"ports": {"http": 80, "https": 443}}},
    }));
    let api = &fixture.api;
    api.serve_gateway_api("v1", &["gateways", "httproutes"]);
    api.serve_gateway_api("v1alpha2", &["tlsroutes", "tcproutes"]);
    fixture.reconcile().await;
    let route = |path: &str| api.object(path).unwrap();
    let http = route(HTTP);
    assert_eq!(http["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(
        http["spec"],
        json!({
            "hostnames": ["live.example.com"],
            "parentRefs": [
                {"name": "public", "namespace": "infra", "sectionName": "web"},
                {"name": "media", "namespace": "media"},
            ],
            "rules": [{
                "backendRefs": [{"name": "demo-edge", "port": 80}],
                "timeouts": {"request": "0s"},
            }],
        })
    );
    assert_eq!(http["metadata"]["ownerReferences"][0]["uid"], "demo-uid");
    let https = route(HTTPS);
    assert_eq!(https["apiVersion"], "gateway.networking.k8s.io/v1alpha2");
    assert_eq!(
        https["spec"],
        json!({
            "hostnames": ["live.example.com"],
            "parentRefs": [{"name": "media", "namespace": "media", "port": 443}],
            "rules": [{"backendRefs": [{"name": "demo-edge", "port": 443}]}],
        })
    );
    assert_eq!(route(RTMPS)["spec"]["parentRefs"][0]["port"], 1936);
    assert_eq!(
        route(RTMP)["spec"],
        json!({
            "parentRefs": [{"name": "media", "namespace": "media", "port": 1935}],
            "rules": [{"backendRefs": [{"name": "demo-edge", "port": 1935}]}],
        })
    );
    assert_eq!(
        route("tcproutes/demo-origin-rtmp")["spec"],
        json!({
            "parentRefs": [{"name": "media", "namespace": "media", "sectionName": "publish"}],
            "rules": [{"backendRefs": [{"name": "demo-origin", "port": 1935}]}],
        })
    );
}

#[tokio::test]
async fn status_follows_the_controller_of_the_gateway() {
    let fixture = ReconcilerFixture::settled(spec()).await;
    fixture.api.serve_gateway_api("v1", &ALL);
    put_gateway(&fixture, json!([]));
    fixture.reconciler.gateway_api.expire().await;
    assert_eq!(fixture.reconcile().await, Action::requeue(WAITING_INTERVAL));
    let pending = fixture.condition("RoutesAccepted");
    assert!(pending.starts_with("False RoutesPending"), "{pending}");
    accept(&fixture, HTTP);
    accept(&fixture, RTMP);
    fixture.reconcile().await;
    let accepted = fixture.condition("RoutesAccepted");
    assert!(accepted.starts_with("True Accepted"), "{accepted}");
    let degraded = fixture.condition("Degraded");
    assert!(
        degraded.starts_with("True GatewayAddressPending"),
        "{degraded}"
    );
    put_gateway(&fixture, json!([{"value": "192.0.2.1"}]));
    fixture.reconcile().await;
    let cluster = fixture.api.object(CLUSTER).unwrap();
    let publish = &cluster["status"]["endpoints"]["publishUrl"];
    assert_eq!(*publish, "rtmp://192.0.2.1:1935/live/{stream}");
    assert!(fixture.condition("Degraded").starts_with("False"));
    let wait = SETTLED_INTERVAL + jitter("demo-uid");
    assert_eq!(fixture.reconcile().await, Action::requeue(wait));
}

#[tokio::test]
async fn unchanged_routes_cause_no_writes() {
    let fixture = accepted().await;
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn cluster_without_the_gateway_api_works_and_uses_it_when_it_is_installed() {
    let fixture = ReconcilerFixture::settled(spec()).await;
    let missing = fixture.condition("RoutesAccepted");
    assert!(missing.starts_with("False GatewayApiMissing"), "{missing}");
    assert!(fixture.condition("Ready").starts_with("True"));
    fixture.reconcile().await;
    assert_eq!(fixture.api.writes(), Vec::<String>::new());
    fixture.api.serve_gateway_api("v1", &ALL);
    tokio::time::advance(Duration::from_secs(30)).await;
    let client = &fixture.reconciler.client;
    assert!(fixture.reconciler.gateway_api.have_changed(client).await);
    fixture.reconcile().await;
    let writes = fixture.api.writes();
    for path in [HTTP, RTMP] {
        assert!(writes.contains(&format!("PATCH {path}")), "{writes:?}");
    }
}

#[tokio::test]
async fn removed_gateway_api_fails_no_reconciliation() {
    let fixture = accepted().await;
    fixture.api.serve_gateway_api("v1", &[]);
    for path in [HTTP, RTMP] {
        fixture.api.remove(path);
    }
    fixture.reconcile().await;
    let missing = fixture.condition("RoutesAccepted");
    assert!(missing.starts_with("False GatewayApiMissing"), "{missing}");
    assert!(fixture.condition("Ready").starts_with("True"));
}

/// While a definition is being deleted, the API server may refuse its objects in any way.
#[tokio::test]
async fn refusal_of_a_route_whose_kind_is_being_deleted_is_no_error() {
    for (code, reason) in [
        (405, "MethodNotAllowed"),
        (422, "Invalid"),
        (403, "Forbidden"),
    ] {
        let fixture = accepted().await;
        fixture.api.remove(HTTP);
        fixture.api.delete_gateway_kind("httproutes");
        let message = "not allowed while custom resource definition is terminating";
        fixture
            .api
            .refuse(Method::PATCH, HTTP, code, reason, message);
        fixture.reconcile().await;
        let missing = fixture.condition("RoutesAccepted");
        assert!(missing.starts_with("False GatewayApiMissing"), "{missing}");
        assert!(fixture.condition("Ready").starts_with("True"));
    }
}

#[tokio::test]
async fn routes_are_deleted_with_the_field() {
    let fixture = accepted().await;
    fixture.edit_spec(|spec| spec["gateway"] = Value::Null);
    fixture.reconcile().await;
    let writes = fixture.api.writes();
    for path in [HTTP, RTMP] {
        assert!(writes.contains(&format!("DELETE {path}")), "{writes:?}");
        assert!(fixture.api.object(path).is_none());
    }
    fixture.reconcile().await;
    fixture.api.requests();
    fixture.reconcile().await;
    let requests = fixture.api.requests();
    let routes = requests.iter().filter(|it| it.path.contains("route"));
    assert_eq!(routes.count(), 0, "routes are looked for no more");
}

#[tokio::test]
async fn routes_that_an_earlier_operator_left_are_deleted() {
    let mut fixture = accepted().await;
    fixture.edit_spec(|spec| spec["gateway"] = Value::Null);
    fixture.api.edit(CLUSTER, |cluster| {
        cluster["status"] = json!({"operator": identity().name});
    });
    fixture.reconciler = new_reconciler(fixture.reconciler.client.clone());
    fixture.reconcile().await;
    assert!(fixture.api.object(HTTP).is_none());
    assert!(fixture.api.object(RTMP).is_none());
}

#[tokio::test]
async fn foreign_route_is_not_changed() {
    let fixture = ReconcilerFixture::new(spec());
    fixture.api.serve_gateway_api("v1", &ALL);
    put_gateway(&fixture, json!([]));
    let theirs = json!({"metadata": {"name": "demo-edge-http", "namespace": "media"}, "spec": {}});
    fixture.api.put(HTTP, theirs);
    let before = fixture.api.object(HTTP);
    fixture.reconcile().await;
    assert_eq!(fixture.api.object(HTTP), before);
    assert!(fixture.api.object(RTMP).is_some());
    let ready = fixture.condition("Ready");
    assert!(
        ready.starts_with("False NameConflict: HTTPRoute demo-edge-http already exists"),
        "{ready}"
    );
}

#[tokio::test]
async fn gateway_that_may_not_be_read_does_not_stop_a_reconciliation() {
    let fixture = accepted().await;
    fixture
        .api
        .refuse(Method::GET, GATEWAY, 403, "Forbidden", "no");
    fixture.reconcile().await;
    let accepted = fixture.condition("RoutesAccepted");
    assert!(
        accepted.contains("may not read Gateway infra/public"),
        "{accepted}"
    );
}
