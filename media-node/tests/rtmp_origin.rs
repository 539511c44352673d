//! An edge whose origins are RTMP servers of another make. Here they are media nodes that know nothing of each other.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use media_config::Role;
use media_wire::rtmp::{ServerConnection, ServerEvent, ServerSettings, write_media_message};
use media_wire::{MediaKind, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{
    FlvViewer, Publisher, RtmpViewer, TestNode, audio_frame, audio_header, eventually, interframe,
    keyframe, metadata_with, number, video_header,
};

async fn edge(servers: &[SocketAddr]) -> TestNode {
    let servers: Vec<_> = servers
        .iter()
        .map(|address| format!("rtmp://{address}"))
        .collect();
    TestNode::with(|config| {
        config.role = Role::Edge;
        config.origins.rtmp = servers;
    })
    .await
}

async fn viewers(node: &TestNode) -> usize {
    let clients = node.api("/api/v1/clients").await;
    let clients = clients.as_array().unwrap().iter();
    clients.filter(|client| client["role"] == "viewer").count()
}

/// Publishes to a server, and watches that at the edge.
async fn assert_plays(edge: &TestNode, server: &TestNode) {
    let mut publisher = Publisher::with_group(server.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    publisher
        .send([keyframe(10, 400, 100), interframe(11, 440, 100)])
        .await;
    while viewer.numbered().await != Some((11, 440)) {}
}

/// Starts a server that plays these messages as they are, once.
async fn server_of(messages: Vec<Message>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut protocol = ServerConnection::new(ServerSettings::default());
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        while socket.read_buf(&mut input).await.unwrap() > 0 {
            let mut plays = false;
            while let Some(event) = protocol.receive(&mut input).unwrap() {
                match event {
                    ServerEvent::Connected { .. } => protocol.accept_connect(),
                    ServerEvent::Play { .. } => {
                        protocol.accept_play();
                        plays = true;
                    }
                    _ => {}
                }
            }
            while let Some(bytes) = protocol.output() {
                output.extend_from_slice(&bytes);
            }
            for message in messages.iter().filter(|_| plays) {
                let Message {
                    kind,
                    timestamp,
                    payload,
                } = message;
                write_media_message(&mut output, *kind, *timestamp, payload);
            }
            socket.write_all_buf(&mut output).await.unwrap();
        }
    });
    address
}

/// MediaMTX never sets the keyframe flag of HEVC and AV1, and its AV1 has a packet type that mpegts.js does not know. It plays the next
/// encoder over the same connection.
#[tokio::test]
async fn what_the_server_leaves_out_of_video_is_added() {
    let video = |timestamp, payload: &'static [u8]| Message {
        kind: MediaKind::Video,
        timestamp,
        payload: Bytes::from_static(payload),
    };
    let header = video(0, b"\x80av01\x81\x04\x0C\0");
    let unflagged = video(40, b"\x83av01\x12\0\x0A\x02\x18\x19\x32\x02\x10\0");
    let before = [
        metadata_with(&["videocodecid"]),
        video_header(),
        keyframe(0, 0, 100),
    ];
    let server = server_of([&before[..], &[header, unflagged]].concat()).await;
    let edge = edge(&[server]).await;
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    let mut played = Vec::new();
    while played.len() < 4 {
        let message = viewer.next().await.unwrap();
        if message.kind == MediaKind::Video {
            played.push(message.payload);
        }
    }
    let complete = b"\x80av01\x81\x04\x0C\0\x0A\x02\x18\x19";
    assert_eq!(played[2], complete[..], "with the sequence header");
    assert!(played[3].starts_with(b"\x91av01\x12\0"), "{played:?}");
}

#[tokio::test]
async fn stream_of_the_server_is_played_once_for_all_viewers_until_the_last_one_leaves() {
    let server = TestNode::start().await;
    let edge = edge(&[server.addresses.rtmp]).await;
    let mut publisher = Publisher::with_group(server.addresses.rtmp, "live/a").await;
    let mut flv = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    let mut rtmp = RtmpViewer::start(edge.addresses.rtmp, "live/a").await;
    publisher.send_group(10).await;
    for number in 0..20 {
        assert_eq!(flv.numbered().await, Some((number, number * 40)));
    }
    while rtmp.numbered().await != Some((19, 760)) {}
    assert_eq!(viewers(&server).await, 1);
    drop((flv, rtmp));
    eventually("the end of the pull", async || viewers(&server).await == 0).await;
}

#[tokio::test]
async fn what_is_published_to_the_edge_is_published_to_the_server() {
    let server = TestNode::start().await;
    let edge = edge(&[server.addresses.rtmp]).await;
    let mut publisher = Publisher::with_group(edge.addresses.rtmp, "live/a?key=secret").await;
    let mut viewer = FlvViewer::open(server.addresses.http, "/live/a.flv").await;
    publisher.send_group(10).await;
    let first = viewer.numbered().await.unwrap().0;
    for number in first + 1..20 {
        assert_eq!(viewer.numbered().await, Some((number, number * 40)));
    }
    publisher.finish().await;
    eventually("the end of the publication", async || {
        let streams = server.api("/api/v1/streams").await;
        streams[0]["publication"].is_null()
    })
    .await;
}

#[tokio::test]
async fn next_server_is_asked_when_the_first_one_is_dead_or_lacks_the_stream() {
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    let (empty, server) = (TestNode::start().await, TestNode::start().await);
    let servers = [dead, empty.addresses.rtmp, server.addresses.rtmp];
    let edge = edge(&servers).await;
    assert_plays(&edge, &server).await;
}

/// SRS and nginx-rtmp accept a request for any stream, and wait for its encoder.
#[tokio::test]
async fn next_server_is_asked_when_the_first_one_waits_for_an_encoder() {
    let waiting = TestNode::with(|config| config.stream.play_wait_seconds = 60).await;
    let server = TestNode::start().await;
    let edge = edge(&[waiting.addresses.rtmp, server.addresses.rtmp]).await;
    assert_plays(&edge, &server).await;
}

#[tokio::test]
async fn viewers_stay_when_the_encoder_of_the_server_returns() {
    let server = TestNode::with(|config| config.stream.continuity_seconds = 0).await;
    let edge = edge(&[server.addresses.rtmp]).await;
    let publisher = Publisher::with_group(server.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    while viewer.numbered().await != Some((9, 360)) {}
    publisher.finish().await;
    let mut publisher = Publisher::start(server.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send([keyframe(20, 0, 100)]).await;
    assert_eq!(viewer.numbered().await, Some((20, 400)), "timestamps go on");
}

/// The server plays the next encoder over the same connection, and does not say that the former one has ended.
#[tokio::test]
async fn who_joins_an_encoder_without_video_gets_none_of_the_encoder_before_it() {
    let server = TestNode::start().await;
    let edge = edge(&[server.addresses.rtmp]).await;
    let mut publisher = Publisher::start(server.addresses.rtmp, "live/a").await;
    let announced = metadata_with(&["audiocodecid", "videocodecid"]);
    publisher
        .send([announced, video_header(), audio_header()])
        .await;
    publisher.send_group(0).await;
    let mut early = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    while early.numbered().await != Some((9, 360)) {}
    publisher.finish().await;
    let mut publisher = Publisher::start(server.addresses.rtmp, "live/a").await;
    publisher
        .send([
            metadata_with(&["audiocodecid"]),
            audio_header(),
            audio_frame(20, 0),
        ])
        .await;
    while early.numbered().await.unwrap().0 != 20 {}
    let mut late = FlvViewer::open(edge.addresses.http, "/live/a.flv").await;
    publisher.send([audio_frame(21, 21)]).await;
    loop {
        let message = late.next().await.unwrap();
        assert_ne!(message.kind, MediaKind::Video);
        if number(&message) == Some(21) {
            break;
        }
    }
    assert!(
        late.tracks
            .is_some_and(|tracks| tracks.audio && !tracks.video)
    );
}
