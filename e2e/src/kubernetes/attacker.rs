//! Pods of another namespace attack the internal port of a LiveCluster where nothing enforces a NetworkPolicy: media nodes without a
//! token and with a token of their own, and requests by hand.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use livecluster_api::LiveCluster;
use serde_json::{Value, json};

use crate::cluster::{Namespace, Reach, STREAM, is_ready};
use crate::media::{Encoder, Viewer};
use crate::process;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let spec = json!({"edges": {"replicas": 1}, "networkPolicy": {"enabled": false}});
    namespace.apply_ready("demo", spec).await?;
    let outside = namespace.create_other("outside").await?;
    attack(&namespace, &outside).await
}

async fn attack(namespace: &Namespace, outside: &Namespace) -> Result<()> {
    let origin = namespace.reach_role("demo", "origin").await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &origin, &edge).await?;
    let attackers = start_attackers(namespace, outside).await?;
    let internal = internal_port(namespace).await?;

    namespace.say("two media nodes of another namespace pull, publish over the stream, and publish one of their own");
    for (name, attacker) in ATTACKERS.iter().zip(&attackers) {
        let forged = format!("live/{name}");
        let _over = Encoder::publish(&attacker.rtmp(STREAM)).await;
        let _own = Encoder::publish(&attacker.rtmp(&forged)).await;
        let by_attacker = attacker.http(OTHER_STREAM);
        let forged = edge.http(&forged);
        let _other = namespace.published(&origin.rtmp(OTHER_STREAM)).await?;
        namespace.watched(&edge.http(OTHER_STREAM)).await?;
        let (pulled, played) = tokio::join!(not_found(&by_attacker), not_found(&forged));
        pulled?;
        played?;
    }
    stream.assert_uninterrupted()?;
    // One has no token, and that of the other one is another ServiceAccount's.
    assert_refused(&internal, &["no_credential", "claim"]).await?;

    namespace.say("requests without a token, with a foreign one, and as a browser");
    let foreign = foreign_token(namespace, outside).await?;
    let foreign = format!("Authorization: Bearer {foreign}");
    for (method, path) in REQUESTS {
        let url = format!("http://{}{path}", internal.api);
        for (headers, expected) in [
            (&[][..], "401"),
            (&["Authorization: Bearer a.b.c"], "401"),
            (&[foreign.as_str()], "403"),
            (&[foreign.as_str(), "Origin: http://evil.example"], "403"),
        ] {
            let status = status(method, &url, headers).await?;
            ensure!(status == expected, "{method} {path}, {headers:?}: {status}");
        }
    }
    assert_operator_tokens(namespace, &internal).await?;
    let probe = format!("http://{}/livez", internal.api);
    ensure!(status("GET", &probe, &[]).await? == "200", "no probe");
    assert_refused(&internal, &["token", "browser"]).await?;
    stream.assert_uninterrupted()
}

/// Where this host reaches an origin's ports that are not public.
struct InternalPort {
    api: String,
    metrics: String,
}

async fn internal_port(namespace: &Namespace) -> Result<InternalPort> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "internal"},
        "spec": {
            "type": "NodePort",
            "selector": {
                "app.kubernetes.io/instance": "demo", "app.kubernetes.io/component": "origin",
            },
            "ports": [{"name": "internal", "port": 9090}, {"name": "metrics", "port": 9092}],
        },
    });
    namespace.kubectl_apply(&service.to_string()).await?;
    let service: Service = namespace.get("internal").await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let address = |name: &str| {
        let port = ports
            .iter()
            .find(|port| port.name.as_deref() == Some(name))
            .and_then(|port| port.node_port)
            .with_context(|| format!("no node port {name}"))?;
        anyhow::Ok(format!("{}:{port}", namespace.cluster.front().address))
    };
    Ok(InternalPort {
        api: address("internal")?,
        metrics: address("metrics")?,
    })
}

/// Starts a media node of each kind in another namespace, whose origin is the LiveCluster's.
async fn start_attackers(namespace: &Namespace, outside: &Namespace) -> Result<Vec<Reach>> {
    let cluster: LiveCluster = namespace.get("demo").await?;
    let image = cluster.status.and_then(|status| status.image);
    let image = image.context("the LiveCluster has no image")?;
    let origins = namespace.pods("demo", "origin").await?;
    let address = origins
        .first()
        .and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
    let address = address.context("the origin has no address")?;
    let audience = format!("livecluster.dev/{}/demo", namespace.name);
    for name in ATTACKERS {
        let mut config = json!({
            "role": "edge",
            "origins": {"addresses": [format!("{address}:9090")]},
            "stream": {"playWaitSeconds": 3},
        });
        if name == WITH_TOKEN {
            config["identity"] = json!({"serviceAccount": {
                "tokenFile": "/token/token", "jwksFile": "/config/jwks.json",
                "audience": audience, "nodes": ["system:serviceaccount:a:b"],
            }});
        }
        let data = json!({"media-node.yaml": config.to_string(), "jwks.json": "{\"keys\": []}"});
        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
        });
        outside.kubectl_apply(&config_map.to_string()).await?;
        let pod = attacker(name, &image, &audience);
        outside.kubectl_apply(&pod.to_string()).await?;
    }
    let mut reached = Vec::new();
    for name in ATTACKERS {
        let expected = format!("{name} runs");
        let pod = eventually(&expected, DEADLINE, || async {
            let pod: Pod = outside.get(name).await?;
            ensure!(is_ready(&pod), "{:?}", pod.status);
            Ok(pod)
        });
        reached.push(outside.reach_pod(&pod.await?).await?);
    }
    Ok(reached)
}

/// A Pod with a media node, and a token of its own ServiceAccount for the LiveCluster's audience: each user who may create Pods gets one.
fn attacker(name: &str, image: &str, audience: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "media-node", "image": image, "imagePullPolicy": "IfNotPresent",
                "args": ["--config", "/config/media-node.yaml"],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "config", "mountPath": "/config"},
                    {"name": "token", "mountPath": "/token"},
                ],
            }],
            "volumes": [
                {"name": "config", "configMap": {"name": name}},
                {"name": "token", "projected": {"sources": [
                    {"serviceAccountToken": {"audience": audience, "path": "token"}},
                ]}},
            ],
        },
    })
}

/// Returns a token of a ServiceAccount of the other namespace for the LiveCluster's audience.
async fn foreign_token(namespace: &Namespace, outside: &Namespace) -> Result<String> {
    let audience = format!("livecluster.dev/{}/demo", namespace.name);
    let line = format!("create token default --audience {audience}");
    let token = eventually("a token", DEADLINE, || outside.kubectl(&line));
    Ok(token.await?.trim().to_owned())
}

/// Fails unless the operator's token for this LiveCluster counts here, and no other one.
async fn assert_operator_tokens(namespace: &Namespace, internal: &InternalPort) -> Result<()> {
    namespace.say("the operator's tokens for this LiveCluster, for another one, and for all");
    let release = &namespace.cluster.release;
    let system = namespace.other(&release.namespace);
    let url = format!("http://{}/api/v1/summary", internal.api);
    for (audience, expected) in [
        (format!("livecluster.dev/{}/demo", namespace.name), "200"),
        (format!("livecluster.dev/{}/other", namespace.name), "401"),
        ("livecluster.dev/operator".to_owned(), "401"),
    ] {
        let line = format!(
            "create token {} --audience {audience}",
            release.deployment()
        );
        let token = system.kubectl(&line).await?;
        let header = format!("Authorization: Bearer {}", token.trim());
        let status = status("GET", &url, &[&header]).await?;
        ensure!(status == expected, "audience {audience}: {status}");
    }
    Ok(())
}

/// Fails unless the origin has refused requests for each of these reasons.
async fn assert_refused(internal: &InternalPort, reasons: &[&str]) -> Result<()> {
    let metrics = process::run(&format!("curl -s http://{}/metrics", internal.metrics)).await?;
    for reason in reasons {
        let counter = format!("live_internal_requests_refused_total{{reason=\"{reason}\"}} ");
        let count = metrics.lines().find_map(|it| it.strip_prefix(&counter));
        let count: f64 = count.with_context(|| format!("no {counter}"))?.parse()?;
        ensure!(count > 0.0, "no request is refused with reason {reason}");
    }
    Ok(())
}

/// Fails unless a viewer gets a 404.
async fn not_found(url: &str) -> Result<()> {
    match Viewer::watch(url).await {
        Ok(_) => bail!("{url} plays"),
        Err(refused) => {
            let refused = format!("{refused:#}");
            ensure!(refused.contains("404"), "{url}: {refused}");
            Ok(())
        }
    }
}

/// Sends a request. Returns the status.
async fn status(method: &str, url: &str, headers: &[&str]) -> Result<String> {
    let mut command = process::command("curl --silent --max-time 10 --output /dev/null");
    command.args(["--write-out", "%{http_code}", "--request", method]);
    for header in headers {
        command.args(["--header", header]);
    }
    process::finish(command.arg(url), "").await?.success()
}

const WITH_TOKEN: &str = "with-token";
const ATTACKERS: [&str; 2] = ["without-token", WITH_TOKEN];

/// A stream of the LiveCluster that only viewers of the attackers ask for there.
const OTHER_STREAM: &str = "live/other";

/// Lists, a disconnection, metrics of another port, and the protocol between media nodes.
const REQUESTS: [(&str, &str); 7] = [
    ("GET", "/api/v1/summary"),
    ("GET", "/api/v1/streams"),
    ("DELETE", "/api/v1/clients/1"),
    ("GET", "/metrics"),
    ("GET", "/relay/v1/pull?app=live&stream=livestream"),
    ("POST", "/relay/v1/forward?app=live&stream=livestream"),
    ("POST", "/relay/v1/supersede?app=live&stream=livestream"),
];
