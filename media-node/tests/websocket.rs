//! WebSocket-FLV.

use bytes::BytesMut;
use media_wire::flv::{FlvItem, TagReader};

use crate::support::{Publisher, RawConnection, Response, TestNode, number};

async fn open(node: &TestNode, path: &str, version: &str) -> (RawConnection, Response) {
    let mut connection = RawConnection::connect(node.addresses.http).await;
    connection
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\
         Sec-WebSocket-Protocol: flv, binary\r\n\r\n"
        ))
        .await;
    let response = connection.response_header().await;
    (connection, response)
}

/// Returns opcode and payload of the next frame, and asserts that it is unfragmented and unmasked.
async fn frame(connection: &mut RawConnection) -> (u8, BytesMut) {
    let header = connection.take(2).await;
    assert_eq!(header[0] & 0xF0, 0x80, "one frame for each message");
    assert_eq!(header[1] & 0x80, 0, "a server does not mask");
    let extended = match header[1] {
        126 => connection.take(2).await,
        127 => connection.take(8).await,
        length => BytesMut::from(&[length][..]),
    };
    let length = extended
        .iter()
        .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    (header[0] & 0x0F, connection.take(length).await)
}

/// Returns the numbers of the frames up to `last`, and asserts that each message is within one WebSocket frame.
async fn frame_numbers(connection: &mut RawConnection, last: u32) -> Vec<u32> {
    let mut reader = TagReader::new(1 << 20);
    let (mut input, mut numbers) = (BytesMut::new(), Vec::new());
    while numbers.last() != Some(&last) {
        let (opcode, payload) = frame(connection).await;
        assert_eq!(opcode, 2, "binary");
        input.extend_from_slice(&payload);
        while let Some(item) = reader.receive(&mut input).expect("FLV") {
            if let FlvItem::Tag(message) = item {
                numbers.extend(number(&message));
            }
        }
        assert!(input.is_empty(), "a message in two WebSocket frames");
    }
    numbers
}

#[tokio::test]
async fn stream_arrives_in_binary_frames_and_pings_are_answered() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let (mut connection, response) = open(&node, "/live/a.flv", "13").await;
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(response.header("sec-websocket-protocol"), Some("flv"));
    assert_eq!(
        frame_numbers(&mut connection, 9).await,
        (0..10).collect::<Vec<_>>()
    );
    connection.send([0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(frame(&mut connection).await, (10, BytesMut::from("hi")));
    let clients = node.api("/api/v1/clients").await;
    assert_eq!(clients[1]["kind"], "ws");
    // A close frame is answered with a close frame.
    connection.send([0x88, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(frame(&mut connection).await.0, 8);
    assert!(connection.rest().await.is_empty());
}

#[tokio::test]
async fn stream_ends_with_a_close_frame() {
    let node = TestNode::with(|config| config.stream.continuity_seconds = 0).await;
    let publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let (mut connection, _) = open(&node, "/live/a.flv", "13").await;
    frame_numbers(&mut connection, 9).await;
    publisher.finish().await;
    assert_eq!(
        frame(&mut connection).await,
        (8, BytesMut::from(&1000_u16.to_be_bytes()[..]))
    );
}

#[tokio::test]
async fn invalid_handshake_and_missing_stream_get_an_http_error() {
    let node = TestNode::with(|config| config.stream.play_wait_seconds = 0).await;
    assert_eq!(open(&node, "/live/a.flv", "13").await.1.status, 404);
    let (_, response) = open(&node, "/live/a.flv", "8").await;
    assert_eq!(
        (response.status, response.header("sec-websocket-version")),
        (426, Some("13"))
    );
}

#[tokio::test]
async fn unmasked_frame_closes_the_connection() {
    let node = TestNode::start().await;
    let _publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let (mut connection, _) = open(&node, "/live/a.flv", "13").await;
    frame_numbers(&mut connection, 9).await;
    connection.send([0x89, 0]).await;
    assert_eq!(
        frame(&mut connection).await,
        (8, BytesMut::from(&1002_u16.to_be_bytes()[..]))
    );
}
