//! Attacks through two edges at once, from one address: the origin, which gets all of it from media nodes that it trusts, keeps
//! within its limits. An honest encoder and viewers at another edge notice nothing.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{MIB, beside_honest_encoder, track_header};
use crate::support::{
    Process, Publisher, RawConnection, connect_from_elsewhere, eventually, keyframe,
};

/// Streams that one address may publish at the origin.
const OF_ADDRESS: u64 = 40;

struct Cluster {
    origin: Process,
    attacked: [Process; 2],
    honest: Process,
    _folder: TempDir,
}

impl Cluster {
    /// Starts media nodes that share a secret. `limits` are those of the origin.
    async fn start(limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret: PathBuf = folder.path().join("secret");
        std::fs::write(&secret, "a secret of the tests with at least 32 bytes").unwrap();
        let identity = format!("identity: {{secretFile: {}}}\n", secret.display());
        let limits = format!(", maxStreamsPerAddress: {OF_ADDRESS}{limits}");
        let origin = Process::start_with(&limits, &identity).await;
        let origins = format!(
            "role: edge\norigins: {{addresses: [\"{}\"]}}\n",
            origin.internal
        );
        let edge = async || {
            let lines = format!("{identity}{origins}");
            Process::start_with("", &lines).await
        };
        Self {
            attacked: [edge().await, edge().await],
            honest: edge().await,
            origin,
            _folder: folder,
        }
    }

    fn nodes(&mut self) -> impl Iterator<Item = &mut Process> {
        let others = [&mut self.origin, &mut self.honest];
        others.into_iter().chain(&mut self.attacked)
    }
}

/// Attacks two edges at once, while an honest encoder publishes at another one, with a viewer there and one at the origin. `allowed`
/// is the memory that the attack may take at the origin.
async fn beside_honest_edge<T>(
    mut cluster: Cluster,
    allowed: u64,
    attack: impl AsyncFn(&Process, usize) -> T,
) {
    let both = cluster.attacked.iter().enumerate();
    let both = futures::future::join_all(both.map(|(number, edge)| attack(edge, number)));
    let freed = ["live_media_memory_bytes"];
    beside_honest_encoder(&cluster.honest, &cluster.origin, allowed, &freed, both).await;
    cluster.nodes().for_each(Process::assert_healthy);
}

/// Publishes from an address that the honest encoder does not have.
async fn publisher(edge: &Process, stream: &str) -> Option<Publisher> {
    let socket = connect_from_elsewhere(edge.rtmp).await;
    Publisher::try_over(socket, stream).await.ok()
}

#[tokio::test]
async fn streams_of_one_address_are_limited_over_all_edges() {
    let cluster = Cluster::start("").await;
    beside_honest_edge(cluster, 16 * MIB, async |edge, number| {
        let mut held = Vec::new();
        for stream in 0..40 {
            let Some(mut publisher) = publisher(edge, &format!("live/{number}-{stream}")).await
            else {
                continue;
            };
            publisher.send_raw([keyframe(0, 0, 50)]).await;
            held.push(publisher);
        }
        let refused = "live_limits_exceeded_total{limit=\"origin_streams\"}";
        eventually("the refusals", async || edge.metric(refused).await > 0).await;
        held
    })
    .await;
}

#[tokio::test]
async fn publish_loops_at_two_edges_leave_nothing_behind() {
    let cluster = Cluster::start(", maxStreams: 60").await;
    beside_honest_edge(cluster, 16 * MIB, async |edge, number| {
        let loops = (0..4).map(async |connection: usize| {
            let stream = |round: usize| format!("{number}-{connection}-{round}");
            let first = format!("live/{}", stream(0));
            let mut publisher = publisher(edge, &first).await.expect("a first stream");
            for round in 1..40 {
                publisher.send_raw([keyframe(0, 0, 50)]).await;
                publisher.unpublish_and_request(&stream(round)).await;
            }
            publisher
        });
        futures::future::join_all(loops).await
    })
    .await;
}

#[tokio::test]
async fn init_data_of_two_edges_stays_within_the_memory_of_the_origin() {
    let cluster = Cluster::start(", maxMediaMebibytes: 40").await;
    beside_honest_edge(cluster, 80 * MIB, async |edge, number| {
        let mut held = Vec::new();
        for stream in 0..15 {
            let Some(mut publisher) = publisher(edge, &format!("live/{number}-{stream}")).await
            else {
                continue;
            };
            publisher
                .send((0..16).map(|track| track_header(track, 65_000)))
                .await;
            held.push(publisher);
        }
        held
    })
    .await;
}

#[tokio::test]
async fn invented_names_and_viewers_that_read_nothing_keep_no_stream_out() {
    let cluster = Cluster::start("").await;
    beside_honest_edge(cluster, 32 * MIB, async |edge, number| {
        let mut held = Vec::new();
        for name in 0..300 {
            let stream = match name % 3 {
                0 => "honest".to_owned(),
                _ => format!("none-{number}-{name}"),
            };
            let mut connection = RawConnection::over(connect_from_elsewhere(edge.http).await);
            let get = format!("GET /live/{stream}.flv HTTP/1.1\r\nHost: h\r\n\r\n");
            connection.send(get).await;
            held.push(connection);
        }
        let pulled = "live_plays_total{kind=\"flv\",result=\"started\"}";
        eventually("the viewers", async || edge.metric(pulled).await >= 100).await;
        held
    })
    .await;
}
