//! Routes of the Gateway API are made when the Kubernetes cluster has it, reported as the controller of their Gateway answers, and
//! deleted with the field. The scenario acts as that controller.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use livecluster_api::conditions::ROUTES_ACCEPTED;
use livecluster_api::{Endpoint, LiveClusterStatus};
use serde_json::{Value, json};

use crate::cluster::{Namespace, condition_of};
use crate::process;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let definitions = namespace.cluster.gateway_api.as_deref();
    let definitions = definitions.context("LIVECLUSTER_GATEWAY_API names no folder")?;
    let folder = definitions.to_owned();
    namespace.repaired_by(move |_| {
        let folder = folder.clone();
        async move { remove(&folder).await }
    });
    remove(definitions).await?;
    let certificate = TLS_EXAMPLE.split("\n---\n").next();
    namespace
        .kubectl_apply(certificate.context("a Secret")?)
        .await?;

    namespace.say("without the Gateway API the LiveCluster is ready, and says what is missing");
    namespace.apply_ready("demo", spec()).await?;
    until_reason(&namespace, "GatewayApiMissing").await?;

    namespace.say("it is installed: the routes are made");
    install(definitions).await?;
    // The API server serves a kind a moment after it has accepted its definition.
    let made = || namespace.kubectl_apply(GATEWAY);
    eventually("a Gateway", DEADLINE, made).await?;
    // The operator looks for a Gateway every minute, and whenever the LiveCluster changes.
    namespace.kubectl("annotate lc/demo gateway=made").await?;
    until_reason(&namespace, "RoutesPending").await?;
    eventually("the routes", DEADLINE, || async {
        let routes = self::routes(&namespace).await?;
        ensure!(routes.len() == ROUTES.len(), "routes {routes:?}");
        Ok(())
    })
    .await?;

    namespace.say("the controller answers: the status has the addresses");
    namespace
        .kubectl_patch("gateway/public --subresource=status", &gateway_status())
        .await?;
    for (kind, name) in ROUTES {
        answer(&namespace, kind, name, "True").await?;
    }
    let status = until_reason(&namespace, "Accepted").await?;
    let (publish, play) = (&status.endpoints.publish, &status.endpoints.play);
    assert_url(publish, "rtmp://live.example.com:1935/live/{stream}")?;
    assert_url(publish, "rtmps://live.example.com:1936/live/{stream}")?;
    assert_url(play, "http://live.example.com:80/live/{stream}.flv")?;
    assert_url(play, "https://live.example.com:443/live/{stream}.flv")?;

    namespace.say("the controller refuses a route: the status names it");
    answer(&namespace, "tcproute", "demo-edge-rtmp", "False").await?;
    until_reason(&namespace, "RoutesNotAccepted").await?;

    namespace.say("without the field the routes are deleted");
    namespace.edit("demo", json!({"gateway": null})).await?;
    eventually("no routes", DEADLINE, || async {
        let left = self::routes(&namespace).await?;
        ensure!(left.is_empty(), "routes {left:?}");
        Ok(())
    })
    .await?;

    namespace.say("the Gateway API is removed: the operator works on");
    namespace
        .edit("demo", json!({"gateway": spec()["gateway"]}))
        .await?;
    until_reason(&namespace, "RoutesPending").await?;
    remove(definitions).await?;
    until_reason(&namespace, "GatewayApiMissing").await?;
    namespace.assert_operator_works("demo", "removed").await
}

fn spec() -> Value {
    json!({
        "edges": {"service": {"ports": {"https": 443}}},
        "tls": {"secretName": "tls-certificate"},
        "gateway": {"hostnames": ["live.example.com"], "parentRefs": [{"name": "public"}]},
    })
}

/// The files of the kinds that the operator uses.
fn files(definitions: &Path) -> String {
    let file = |kind: &&str| {
        let name = format!("gateway.networking.k8s.io_{kind}.yaml");
        format!("-f {} ", definitions.join(name).display())
    };
    let kinds = ["gateways", "httproutes", "tlsroutes", "tcproutes"];
    kinds.iter().map(file).collect()
}

async fn install(definitions: &Path) -> Result<()> {
    let files = files(definitions);
    // They are larger than the annotation of a client-side apply may be.
    process::run(&format!("kubectl apply --server-side {files}")).await?;
    let limit = DEADLINE.as_secs();
    let line = format!("kubectl wait --for=condition=Established --timeout={limit}s {files}");
    process::run(&line).await.map(drop)
}

async fn remove(definitions: &Path) -> Result<()> {
    let line = format!("kubectl delete --ignore-not-found {}", files(definitions));
    process::run(&line).await.map(drop)
}

async fn until_reason(namespace: &Namespace, reason: &str) -> Result<LiveClusterStatus> {
    let expected = format!("{ROUTES_ACCEPTED} with reason {reason}");
    let status = namespace.until_status("demo", &expected, DEADLINE, |status| {
        condition_of(status, ROUTES_ACCEPTED).is_some_and(|it| it.reason == reason)
    });
    status.await
}

/// Writes the answer of the Gateway's controller into the status of a route.
async fn answer(namespace: &Namespace, kind: &str, name: &str, accepted: &str) -> Result<()> {
    let line = format!("get {kind} {name} -o json");
    let route: Value = serde_json::from_str(&namespace.kubectl(&line).await?)?;
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Example", "message": "",
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let parent = json!({
        "parentRef": route["spec"]["parentRefs"][0],
        "controllerName": "example.com/gateway",
        "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
    });
    let status = json!({"status": {"parents": [parent]}});
    let object = format!("{kind}/{name} --subresource=status");
    namespace.kubectl_patch(&object, &status).await
}

async fn routes(namespace: &Namespace) -> Result<Vec<String>> {
    let line = "get httproutes,tlsroutes,tcproutes -o name";
    let names = namespace.kubectl(line).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn gateway_status() -> Value {
    json!({"status": {"addresses": [{"type": "IPAddress", "value": "203.0.113.7"}]}})
}

fn assert_url(endpoints: &[Endpoint], url: &str) -> Result<()> {
    let found = endpoints.iter().any(|endpoint| endpoint.url == url);
    ensure!(found, "expected {url}, seen {endpoints:?}");
    Ok(())
}

/// The routes of the edges.
const ROUTES: [(&str, &str); 4] = [
    ("httproute", "demo-edge-http"),
    ("tlsroute", "demo-edge-https"),
    ("tcproute", "demo-edge-rtmp"),
    ("tlsroute", "demo-edge-rtmps"),
];

const GATEWAY: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public}
spec:
  gatewayClassName: example
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: rtmp, port: 1935, protocol: TCP}
  - {name: rtmps, port: 1936, protocol: TLS, tls: {mode: Passthrough}}
";

const TLS_EXAMPLE: &str = include_str!("../../../crds/examples/tls.yaml");
