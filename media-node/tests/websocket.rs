//! A stream in a WebSocket.

use bytes::BytesMut;
use media_wire::flv::{FlvItem, TagReader};

use crate::support::{Answer, Publisher, TestNode, Wire, number};

async fn open(node: &TestNode, path: &str, version: &str) -> (Wire, Answer) {
    let mut wire = Wire::connect(node.addresses.http).await;
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\r\n"
    ))
    .await;
    let answer = wire.head().await;
    (wire, answer)
}

/// Operation and payload of the next frame, which must be whole and not masked.
async fn frame(wire: &mut Wire) -> (u8, BytesMut) {
    let head = wire.take(2).await;
    assert_eq!(head[0] & 0xF0, 0x80, "one frame a message");
    assert_eq!(head[1] & 0x80, 0, "a server does not mask");
    let extended = match head[1] {
        126 => wire.take(2).await,
        127 => wire.take(8).await,
        length => BytesMut::from(&[length][..]),
    };
    let length = extended
        .iter()
        .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    (head[0] & 0x0F, wire.take(length).await)
}

/// The numbers of the pictures up to one of them.
async fn watch(wire: &mut Wire, last: u32) -> Vec<u32> {
    let mut reader = TagReader::new(1 << 20);
    let (mut input, mut numbers) = (BytesMut::new(), Vec::new());
    while numbers.last() != Some(&last) {
        let (operation, payload) = frame(wire).await;
        assert_eq!(operation, 2, "binary");
        input.extend_from_slice(&payload);
        while let Some(item) = reader.receive(&mut input).expect("FLV") {
            if let FlvItem::Tag(message) = item {
                numbers.extend(number(&message));
            }
        }
        assert!(input.is_empty(), "a message in two frames");
    }
    numbers
}

#[tokio::test]
async fn a_stream_comes_in_binary_frames_and_pings_are_answered() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let (mut wire, answer) = open(&node, "/live/a.flv", "13").await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(watch(&mut wire, 9).await, (0..10).collect::<Vec<_>>());
    wire.send([0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(frame(&mut wire).await, (10, BytesMut::from("hi")));
    let clients = node.api("/api/v1/clients").await;
    assert_eq!(clients[1]["kind"], "ws");
    // A close is answered with a close.
    wire.send([0x88, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(frame(&mut wire).await.0, 8);
    assert!(wire.rest().await.is_empty());
}

#[tokio::test]
async fn the_end_of_a_stream_is_a_close_frame() {
    let node = TestNode::with(|config| config.stream.continuity_seconds = 0).await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let (mut wire, _) = open(&node, "/live/a.flv", "13").await;
    watch(&mut wire, 9).await;
    publisher.finish().await;
    assert_eq!(
        frame(&mut wire).await,
        (8, BytesMut::from(&1000_u16.to_be_bytes()[..]))
    );
}

#[tokio::test]
async fn what_is_no_websocket_or_no_stream_is_told_so_in_http() {
    let node = TestNode::with(|config| config.stream.play_wait_seconds = 0).await;
    assert_eq!(open(&node, "/live/a.flv", "13").await.1.status, 404);
    let (_, answer) = open(&node, "/live/a.flv", "8").await;
    assert_eq!(
        (answer.status, answer.header("sec-websocket-version")),
        (426, Some("13"))
    );
}

#[tokio::test]
async fn a_frame_that_is_not_masked_ends_the_connection() {
    let node = TestNode::start().await;
    let mut publisher = Publisher::start(node.addresses.rtmp, "live/a").await;
    publisher.send_headers().await;
    publisher.send_group(0).await;
    let (mut wire, _) = open(&node, "/live/a.flv", "13").await;
    watch(&mut wire, 9).await;
    wire.send([0x89, 0]).await;
    assert_eq!(
        frame(&mut wire).await,
        (8, BytesMut::from(&1002_u16.to_be_bytes()[..]))
    );
}
