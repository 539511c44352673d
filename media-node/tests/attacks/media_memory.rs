//! Streams of one address that take the memory for media: with sequence headers on many tracks, and with nothing at all.

use super::{MIB, beside_honest_clients, track_header};
use crate::support::{Process, Publisher, connect_from_elsewhere, eventually};

/// Memory for media, of which the sequence headers would take nearly three times as much.
const MEDIA: u64 = 32 * MIB;

const STREAMS: usize = 90;

#[tokio::test]
async fn init_data_of_many_streams_stays_within_the_memory_for_media() {
    let node = Process::start(", maxMediaMebibytes: 32").await;
    beside_honest_clients(node, 2 * MEDIA, async |node| {
        let mut held = Vec::new();
        for number in 0..STREAMS {
            let socket = connect_from_elsewhere(node.rtmp).await;
            let stream = format!("live/{number}");
            let Ok(mut publisher) = Publisher::try_over(socket, &stream).await else {
                continue;
            };
            let headers = (0..16).map(|track| track_header(track, 65_000));
            publisher.send(headers).await;
            held.push(publisher);
        }
        let refused = "live_limits_exceeded_total{limit=\"media_memory\"}";
        eventually("the refusals", async || node.metric(refused).await > 0).await;
        let used = node.metric("live_media_memory_bytes").await;
        assert!(used < MEDIA + MEDIA / 2, "{used}");
        held
    })
    .await;
}

#[tokio::test]
async fn publications_without_media_keep_no_encoder_out() {
    let node = Process::start(", maxMediaMebibytes: 16").await;
    beside_honest_clients(node, 8 * MIB, async |node| {
        let mut held = Vec::new();
        for number in 0..20 {
            let socket = connect_from_elsewhere(node.rtmp).await;
            held.extend(Publisher::try_over(socket, &format!("live/{number}")).await);
        }
        eventually("room for an encoder", async || {
            Publisher::try_start(node.rtmp, "live/late").await.is_ok()
        })
        .await;
        held
    })
    .await;
}
