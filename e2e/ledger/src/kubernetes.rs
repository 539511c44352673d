//! The rows on a Kubernetes cluster: what breaks there. `e2e/run` makes the cluster, and its environment says which one it is.
//!
//! Each row has a LiveCluster of two origins and three edges of its own. The rows run one after another, because most of them break what
//! all Pods need.

mod events;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use e2e::cluster::{Cluster, Namespace, TargetCluster, is_ready, node_of};
use e2e::media::Codecs;
use e2e::stage::{Stage, Tools};
use e2e::wait::eventually;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use super::audience::{AudienceKind, EdgeReach};
use super::figures::Figures;
use super::rows::{MORE, SHOWN};
use super::stream::{LedgerStream, STREAM};
use events::{
    delete_edges, drain_node, freeze_node, kill_origin, lose_edge, lose_edges, lose_encoders_edge,
    lose_origin, no_api_server, no_dns, no_operator, renew_certificate, rolling_update,
    scale_edges, update_encrypted, update_without_operator, write_certificate,
};

/// A row.
#[derive(Debug)]
pub(crate) struct KubernetesRow {
    /// Its name on the command line, and that of its namespace.
    pub(crate) name: &'static str,
    /// What happens, for the table.
    pub(crate) event: &'static str,
    /// Whether the table in README.md has it.
    pub(crate) is_shown: bool,
    audience: AudienceKind,
    happens: fn(&KubernetesScene) -> BoxFuture<'_, Result<()>>,
}

/// What a row breaks.
struct KubernetesScene {
    namespace: Namespace,
    /// The origin that the stream is forwarded to. It is on another node than the first edge.
    carrier: Pod,
    /// The encoder's edge is the first one.
    edges: Vec<Pod>,
}

macro_rules! rows {
    ($($happens:ident $name:literal $shown:ident $audience:ident, $event:literal;)*) => {
        &[$(KubernetesRow {
            name: $name,
            event: $event,
            is_shown: $shown,
            audience: AudienceKind::$audience,
            happens: |scene| Box::pin($happens(scene)),
        },)*]
    };
}

/// All rows, in the order of the table.
pub(crate) const KUBERNETES_ROWS: &[KubernetesRow] = rows! {
    kill_origin "kill-origin" SHOWN Full,
        "the process of the carrying origin is killed, and its container starts again";
    lose_origin "lose-origin" SHOWN Full,
        "the Pod of the carrying origin is lost, and one with another address replaces it";
    lose_edge "lose-edge" SHOWN Full,
        "the Pod of an edge with a third of the viewers is lost, and another one replaces it";
    lose_encoders_edge "lose-encoders-edge" SHOWN Full,
        "the Pod of the encoder's edge is lost, and another one replaces it";
    rolling_update "rolling-update" SHOWN Full,
        "rolling update of the LiveCluster, with 10 s for each Pod to drain";
    drain_node "drain-node" SHOWN Full,
        "`kubectl drain` of the node with the carrying origin and an edge";
    freeze_node "freeze-node" SHOWN Full,
        "the node with the carrying origin and an edge hangs for 8 s, and its viewers with it";
    no_dns "no-dns" SHOWN Full,
        "no CoreDNS, and the Pod of the carrying origin is lost meanwhile";
    no_operator "no-operator" SHOWN Full,
        "no operator, and the Pod of the carrying origin is lost meanwhile";
    delete_edges "delete-edges" MORE Full,
        "`kubectl delete pods` of all edges at once";
    lose_edges "lose-edges" MORE Full,
        "the Pods of all edges are lost, and others replace them";
    scale_edges "scale-edges" MORE Full,
        "`kubectl scale` of the edges to four, then to one, with 5 s for each Pod to retire and 10 s to drain";
    update_without_operator "update-without-operator" MORE Full,
        "no operator for 10 s of a rolling update";
    no_api_server "no-api-server" MORE Full,
        "no API server for 30 s, and the processes of the carrying origin and of an edge are killed meanwhile";
    renew_certificate "renew-certificate" MORE Encrypted,
        "HTTPS and RTMPS: the Secret of the certificate changes, and the process of the carrying origin is killed";
    update_encrypted "update-encrypted" MORE Encrypted,
        "HTTPS and RTMPS: rolling update of the LiveCluster, with 10 s for each Pod to drain";
};

/// What `e2e/run` says in its environment.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    tools: Tools,
    #[command(flatten)]
    target: TargetCluster,
}

/// A Kubernetes cluster with the operator.
pub(crate) struct KubernetesCluster {
    tools: Arc<Tools>,
    cluster: Arc<Cluster>,
    start: Instant,
}

impl KubernetesCluster {
    /// Connects to the cluster, and installs the operator. The logs go to `out`.
    pub(crate) async fn prepare(out: &Path) -> Result<Self> {
        let Environment { mut tools, target } = Environment::parse_from(["ledger"]);
        out.clone_into(&mut tools.out);
        Ok(Self {
            cluster: Arc::new(Cluster::prepare(&target).await?),
            tools: Arc::new(tools),
            start: Instant::now(),
        })
    }

    /// Runs a row once.
    pub(crate) async fn run_row(&self, row: &KubernetesRow) -> Result<Figures> {
        let stage = Stage::new(row.name, Arc::clone(&self.tools), self.start)?;
        let cluster = Arc::clone(&self.cluster);
        let namespace = Namespace::new(stage, cluster, format!("ledger-{}", row.name));
        namespace.create().await?;
        let figures = run_in(&namespace, row).await;
        namespace.delete().await?;
        figures
    }
}

async fn run_in(namespace: &Namespace, row: &KubernetesRow) -> Result<Figures> {
    let pods = |replicas: u32| json!({"replicas": replicas, "drainTimeoutSeconds": 10});
    let mut spec = json!({"origins": pods(2), "edges": pods(3)});
    // So that a row that removes edges ends.
    spec["edges"]["retireTimeoutSeconds"] = json!(5);
    if row.audience == AudienceKind::Encrypted {
        write_certificate(namespace).await?;
        spec["tls"] = json!({"secretName": CERTIFICATE});
    }
    namespace.apply_ready(NAME, spec).await?;
    let mut edges = namespace.pods(NAME, "edge").await?;
    let carrier = find_carrier(namespace, &edges).await?;
    edges.sort_by_key(|edge| node_of(edge) == node_of(&carrier));
    let first = edges.first().context("no edge")?;
    ensure!(
        node_of(first) != node_of(&carrier),
        "all edges are on the node of the carrying origin"
    );
    // The clients of an edge that is lost come again through the Service.
    let service = namespace.reach_role(NAME, "edge").await?;
    let mut reach = Vec::new();
    for edge in &edges {
        reach.push(EdgeReach {
            edge: namespace.reach_pod(edge).await?,
            next: vec![service.clone()],
        });
    }
    let scene = KubernetesScene {
        namespace: namespace.clone(),
        carrier,
        edges,
    };
    let at_first = reach.first().context("no edge")?;
    let (encoder, next) = (at_first.edge.rtmp(STREAM), service.rtmp(STREAM));
    let (codecs, audience) = (Codecs::default(), row.audience);
    let stream =
        LedgerStream::start(&encoder, vec![next], &reach, STREAM, codecs, audience).await?;
    (row.happens)(&scene).await?;
    let (figures, viewers) = stream.figures().await?;
    let file = namespace.stage.folder().join("viewers.txt");
    std::fs::write(file, viewers).context("write viewers.txt")?;
    Ok(figures)
}

/// Returns the origin that the stream is forwarded to. Which edge it is published to makes no difference.
async fn find_carrier(namespace: &Namespace, edges: &[Pod]) -> Result<Pod> {
    let edge = namespace.reach_pod(edges.first().context("no edge")?);
    let edge = edge.await?;
    let probe = namespace.published(&edge.rtmp(STREAM)).await?;
    let carrier = eventually("an origin carries the stream", LIMIT, || async {
        for origin in namespace.pods(NAME, "origin").await? {
            let (own, pod) = (&namespace.name, origin.name_any());
            let path = format!("/api/v1/namespaces/{own}/pods/{pod}:9092/proxy/metrics");
            let metrics = namespace.kubectl(&format!("get --raw {path}")).await?;
            if metrics.lines().any(|line| line == "live_publications 1") {
                return Ok(origin);
            }
        }
        bail!("no origin has it")
    })
    .await?;
    probe.stop().await?;
    Ok(carrier)
}

impl KubernetesScene {
    /// Waits until two origins and three edges are ready.
    async fn recovered(&self) -> Result<()> {
        // The API server does not know yet that a Pod is not ready.
        tokio::time::sleep(Duration::from_secs(2)).await;
        eventually("two origins and three edges are ready", LIMIT, || async {
            for (role, expected) in [("origin", 2), ("edge", 3)] {
                let pods = self.namespace.pods(NAME, role).await?;
                let ready = pods.iter().filter(|pod| is_ready(pod)).count();
                ensure!(ready == expected, "{ready} {role} Pods are ready");
            }
            Ok(())
        })
        .await
    }
}

/// The LiveCluster of a row.
const NAME: &str = "demo";

/// The Secret with the certificate of its edges.
const CERTIFICATE: &str = "certificate";

/// Longer than Kubernetes takes to replace a Pod.
const LIMIT: Duration = Duration::from_secs(90);
