//! Attacks from one host, each beside an honest encoder and its viewers, on a media node's own process: the viewers get every
//! frame, newcomers are served, probes are answered, memory stays within the budgets, and it is free again afterwards.

mod cluster;
mod media_memory;
mod tls;

use std::cell::Cell;

use bytes::Bytes;
use media_wire::rtmp::CHUNK_SIZE;
use media_wire::{MediaKind, Message};

use crate::support::raw_rtmp::{self, HANDSHAKE};
use crate::support::{
    Clip, FlvViewer, Process, Protocol, Publisher, RawConnection, RtmpViewer, Start,
    assert_complete, begin, connect_from_elsewhere, ended, eventually, finish, keyframe, publish,
    request, watch_at,
};

const MIB: u64 = 1 << 20;

/// Memory that connections, buffers of reads and the allocator take besides what an attack is allowed to take.
const SLACK: u64 = 48 * MIB;

/// Seconds that the honest encoder publishes at most: longer than any attack takes on a busy host.
const LONGEST_ATTACK: u32 = 60;

/// Messages that the honest encoder sends at least: six seconds.
const LEAST_SENT: usize = 2 * 25 * 6;

/// Runs an attack on a media node beside an honest encoder and its viewers. `allowed` is the memory that the attack may take.
async fn beside_honest_clients<T>(
    mut node: Process,
    allowed: u64,
    attack: impl AsyncFnOnce(&Process) -> T,
) {
    let freed = ["live_media_memory_bytes", "live_connections"];
    beside_honest_encoder(&node, &node, allowed, &freed, attack(&node)).await;
    node.assert_healthy();
}

/// Runs an attack while an honest encoder publishes, with a viewer at its media node and one at the judged one. `allowed` is the memory
/// that the attack may take there, and `freed` are the metrics that are 0 after it.
async fn beside_honest_encoder<T>(
    published: &Process,
    judged: &Process,
    allowed: u64,
    freed: &[&str],
    attack: impl Future<Output = T>,
) {
    let clip = Clip::PLAIN.messages(25 * LONGEST_ATTACK);
    let mut publisher = Publisher::start(published.rtmp, "live/honest").await;
    let places = [(published, Protocol::Flv), (judged, Protocol::Rtmp)];
    let mut viewers = places.map(|(node, it)| watch_at(node.rtmp, node.http, "live/honest", it));
    // The viewers have begun before the attack does.
    let rest = begin(&mut publisher, &clip, &mut viewers).await;
    let before = judged.memory();
    let is_over = Cell::new(false);
    let attack = async {
        let held = attack.await;
        let (now, limit) = (judged.memory(), allowed + SLACK);
        assert!(now < before + limit, "{before} bytes became {now}");
        for path in ["/livez", "/readyz"] {
            let probe = request(judged.internal, "GET", path).await;
            assert_eq!(probe.status, 200, "{path}");
        }
        let _newcomer = Publisher::with_group(published.rtmp, "live/newcomer").await;
        let mut first = FlvViewer::open(judged.http, "/live/newcomer.flv").await;
        assert!(first.numbered().await.is_some());
        drop(held);
        is_over.set(true);
    };
    let mut sent = clip.len() - rest.len();
    let encoder = async {
        for part in rest.chunks(50) {
            if is_over.get() && sent > LEAST_SENT {
                break;
            }
            publish(&mut publisher, part, 1).await;
            sent += part.len();
        }
    };
    tokio::join!(encoder, attack);
    finish(publisher).await;
    for received in ended(viewers.into()).await {
        assert_complete(&clip[..sent], &received, Start::Beginning);
    }
    for taken in freed {
        eventually(taken, async || judged.metric(taken).await == 0).await;
    }
    eventually("the memory", async || judged.memory() < before + SLACK).await;
}

/// A sequence header of a track of Enhanced RTMP's multitrack.
fn track_header(track: u8, size: usize) -> Message {
    let mut payload = vec![0x96, 0, b'a', b'v', b'c', b'1', track];
    payload.resize(size, track);
    Message {
        kind: MediaKind::Video,
        timestamp: 0,
        payload: Bytes::from(payload),
    }
}

#[tokio::test]
async fn large_sequence_headers_on_many_tracks_are_shared_by_all_viewers() {
    let node = Process::start("").await;
    beside_honest_clients(node, 8 * MIB, async |node| {
        let mut publisher = Publisher::start(node.rtmp, "live/a").await;
        publisher.send_headers().await;
        publisher
            .send((1..60).map(|track| track_header(track, 65_000)))
            .await;
        publisher.send([keyframe(0, 0, 1_000)]).await;
        let mut stalled = Vec::new();
        for _ in 0..40 {
            let mut viewer = RawConnection::connect_with_buffer(node.http, 4_096).await;
            viewer
                .send("GET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n")
                .await;
            stalled.push(viewer);
        }
        let left_out = "live_limits_exceeded_total{limit=\"init_data_messages\"}";
        eventually(left_out, async || node.metric(left_out).await > 0).await;
        let viewers = "live_plays_total{kind=\"flv\",result=\"started\"}";
        eventually("the viewers", async || node.metric(viewers).await >= 41).await;
        (publisher, stalled)
    })
    .await;
}

/// Messages that begin and do not end, on 60 chunk streams. Each chunk is as long as it is before `SetChunkSize`.
fn incomplete_messages(chunks: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in 0..chunks {
        for stream in 0..60_u8 {
            match chunk {
                0 => bytes.extend([0, stream, 0, 0, 0, 0, 0xFF, 0xFF, 20, 0, 0, 0, 0]),
                _ => bytes.extend([0xC0, stream]),
            }
            bytes.extend([0x55; 128]);
        }
    }
    bytes
}

#[tokio::test]
async fn incomplete_messages_on_many_chunk_streams_are_bounded_and_counted() {
    const CONNECTIONS: usize = 300;
    let node = Process::start(", handshakeTimeoutSeconds: 60").await;
    let allowed = (CONNECTIONS as u64) * 64 * 1024;
    beside_honest_clients(node, allowed, async |node| {
        // Eight chunks on each are 61,440 bytes, nine are more than 65,536.
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = RawConnection::connect(node.rtmp).await;
            connection.send(HANDSHAKE).await;
            connection.send(incomplete_messages(8)).await;
            held.push(connection);
        }
        let mut viewers = Vec::new();
        for _ in 0..50 {
            let mut viewer = RtmpViewer::start(node.rtmp, "live/honest").await;
            let mut more = incomplete_messages(9);
            more.truncate(more.len() - 1);
            viewer.0.send_bytes(&more).await;
            viewers.push(viewer);
        }
        for connection in held.iter_mut().take(100) {
            let ninth = incomplete_messages(9).split_off(incomplete_messages(8).len());
            connection.send(ninth).await;
        }
        let exceeded = "live_limits_exceeded_total{limit=\"incomplete_messages\"}";
        eventually("the refusals", async || node.metric(exceeded).await >= 150).await;
        (held, viewers)
    })
    .await;
}

#[tokio::test]
async fn many_parameters_in_names_and_addresses_cost_little() {
    let node = Process::start(", maxStreamStartsPerMinute: 6000").await;
    beside_honest_clients(node, 0, async |node| {
        let parameters = "a=b&".repeat(15_000);
        for _ in 0..20 {
            let url = format!("live/cam?{parameters}");
            assert!(Publisher::try_start(node.rtmp, &url).await.is_err());
            let mut connection = RawConnection::connect(node.rtmp).await;
            connection.send(HANDSHAKE).await;
            let app = format!("live?{parameters}");
            connection.send(raw_rtmp::connect(&[("app", &app)])).await;
            assert!(!connection.rest().await.is_empty(), "an answer");
        }
        let path = format!("/live/cam.flv?{parameters}");
        assert_eq!(request(node.http, "GET", &path).await.status, 414);
        let path = format!("/live/cam.flv?{}", "a=b&".repeat(1_500));
        assert!(request(node.http, "GET", &path).await.status >= 400);
        let exceeded = "live_limits_exceeded_total{limit=\"parameters\"}";
        assert!(node.metric(exceeded).await >= 40);
    })
    .await;
}

#[tokio::test]
async fn one_address_takes_the_place_of_no_other() {
    let node = Process::start("").await;
    beside_honest_clients(node, 16 * MIB, async |node| {
        let mut held = Vec::new();
        for number in 0..1_200 {
            let port = [node.rtmp, node.http][number % 2];
            let mut connection = RawConnection::over(connect_from_elsewhere(port).await);
            if number % 2 == 1 {
                // Viewers, and requests that keep their connection.
                let path = ["/live/honest.flv", "/streams.json"][number / 2 % 2];
                let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
                connection.send(request).await;
            }
            held.push(connection);
        }
        let refused = "live_connections_refused_total{reason=\"address_connections\"}";
        eventually("the refusals", async || node.metric(refused).await >= 200).await;
        held
    })
    .await;
}

#[tokio::test]
async fn requests_without_end_close_no_handshake_of_another_address() {
    // A tenth of the connections may be without a stream.
    let node = Process::start(", maxConnections: 160, handshakeTimeoutSeconds: 60").await;
    beside_honest_clients(node, 0, async |node| {
        let mut slow = RawConnection::connect(node.rtmp).await;
        let (first, rest) = HANDSHAKE.split_at(2_000);
        slow.send(first).await;
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut connection = RawConnection::over(connect_from_elsewhere(node.http).await);
            connection.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
            assert!(connection.read().await, "an answer");
            held.push(connection);
        }
        let closed = "live_limits_exceeded_total{limit=\"idle_connections\"}";
        eventually(closed, async || node.metric(closed).await >= 80).await;
        slow.send(rest).await;
        slow.send(raw_rtmp::connect(&[("app", "live")])).await;
        // The responses to the handshake and to `connect`.
        slow.take(HANDSHAKE.len() + 100).await;
        held
    })
    .await;
}

#[tokio::test]
async fn exhausted_internal_port_fails_no_probe() {
    let node = Process::start("").await;
    beside_honest_clients(node, 16 * MIB, async |node| {
        let mut held = Vec::new();
        for number in 0..1_500 {
            let mut connection = RawConnection::connect(node.internal).await;
            if number % 2 == 0 {
                connection
                    .send("GET /api/v1/summary HTTP/1.1\r\nHost: h\r\n")
                    .await;
            }
            held.push(connection);
        }
        held
    })
    .await;
}

#[tokio::test]
async fn many_names_of_one_connection_keep_no_publisher_out() {
    let node = Process::start(", maxStreams: 20").await;
    beside_honest_clients(node, 0, async |node| {
        let mut publisher = Publisher::start(node.rtmp, "live/0").await;
        for number in 1..60 {
            publisher.send_raw([keyframe(0, 0, 50)]).await;
            publisher.publish_again(&number.to_string()).await;
        }
        publisher
    })
    .await;
}

#[tokio::test]
async fn large_pages_are_not_copied_for_clients_that_do_not_read_them() {
    const CONNECTIONS: usize = 600;
    let node = Process::start("").await;
    beside_honest_clients(node, CONNECTIONS as u64 * 32 * 1024, async |node| {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = RawConnection::connect_with_buffer(node.http, 4_096).await;
            connection
                .send("GET /player/mpegts.js HTTP/1.1\r\nHost: h\r\n\r\n")
                .await;
            held.push(connection);
        }
        for connection in &mut held {
            assert!(connection.read().await, "the page begins");
        }
        held
    })
    .await;
}

/// An audio message of one byte, then more of them with the shortest header.
fn short_messages(count: usize) -> Vec<u8> {
    let mut bytes = vec![4, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 0xAF];
    bytes.extend([0xC4, 0xAF].repeat(count));
    bytes
}

/// Video messages without a byte, with the shortest header.
fn empty_messages(count: usize) -> Vec<u8> {
    let mut bytes = vec![6, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0];
    bytes.extend([0xC6].repeat(count));
    bytes
}

/// An aggregate message whose parts are video without a byte.
fn empty_aggregate(parts: usize) -> Vec<u8> {
    let part = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    let body = part.repeat(parts);
    let [.., high, middle, low] = (body.len() as u64).to_be_bytes();
    let mut bytes = vec![4, 0, 0, 0, high, middle, low, 22, 1, 0, 0, 0];
    for (index, chunk) in body.chunks(CHUNK_SIZE).enumerate() {
        if index > 0 {
            bytes.push(0xC4);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

#[tokio::test]
async fn aggregate_of_empty_parts_ends_its_connection() {
    let node = Process::start("").await;
    beside_honest_clients(node, 64 * MIB, async |node| {
        let attack = async |number: usize| {
            let mut publisher = Publisher::start(node.rtmp, &format!("live/{number}")).await;
            publisher.0.send_bytes(&empty_aggregate(500_000)).await;
            publisher
        };
        let held = futures::future::join_all((0..8).map(attack)).await;
        let exceeded = "live_limits_exceeded_total{limit=\"aggregate_parts\"}";
        eventually("the refusals", async || node.metric(exceeded).await >= 8).await;
        held
    })
    .await;
}

#[tokio::test]
async fn short_messages_and_requests_without_end_take_turns_with_viewers() {
    let node = Process::start(", maxPublishMessagesPerSecond: 0").await;
    beside_honest_clients(node, 32 * MIB, async |node| {
        let flood = async |number: usize| {
            let mut publisher = Publisher::start(node.rtmp, &format!("live/{number}")).await;
            let mut viewer = RtmpViewer::start(node.rtmp, "live/honest").await;
            let mut page = RawConnection::connect(node.http).await;
            publisher.0.send_bytes(&short_messages(50_000)).await;
            publisher.0.send_bytes(&empty_messages(1_000_000)).await;
            viewer.0.send_bytes(&short_messages(50_000)).await;
            let requests = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(200);
            page.send(requests).await;
            for _ in 0..200 {
                assert_eq!(page.response(true).await.status, 404);
            }
            (publisher, viewer, page)
        };
        futures::future::join_all((0..4).map(flood)).await
    })
    .await;
}
