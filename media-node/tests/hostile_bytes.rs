//! Nonsense, malice and idleness on both public ports of a media node's own process: its viewers receive everything, it needs no more
//! memory afterwards, and no more time than for as many honest bytes.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use media_wire::amf0::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::raw_rtmp::{self, chunks};
use crate::support::{
    Clip, Process, Protocol, Publisher, Start, assert_complete, begin, ended, finish, publish,
    watch_at,
};

/// Connections of each kind.
const OF_EACH: usize = 40;

/// The CPU time that a connection may cost, and each byte that it sends. A parser that goes back to the beginning for each part
/// of 80 KB needs many times as much, and other programs on the host do not count.
const COST_OF_CONNECTION: Duration = Duration::from_millis(60);
const COST_OF_BYTE: Duration = Duration::from_nanos(1_000);

/// A media node without work for so long has processed what it got.
const IDLE: Duration = Duration::from_millis(30);

#[tokio::test]
async fn hostile_bytes_disturb_no_viewer_and_cost_no_memory() {
    let mut node = Process::start("").await;
    let sent = Clip::PLAIN.messages(25 * 12);
    let mut publisher = Publisher::start(node.rtmp, "live/a").await;
    let viewers = [Protocol::Flv, Protocol::Rtmp];
    let mut viewers = viewers.map(|it| watch_at(node.rtmp, node.http, "live/a", it));
    let rest = begin(&mut publisher, &sent, &mut viewers).await;
    let before = node.memory();
    let attack =
        futures::stream::iter(attacks(&node)).for_each_concurrent(3, async |(address, attack)| {
            let all = (0..OF_EACH).map(|_| throw(address, &attack));
            futures::future::join_all(all).await;
        });
    tokio::join!(publish(&mut publisher, rest, 1), attack);
    finish(publisher).await;
    for received in ended(viewers.into()).await {
        assert_complete(&sent, &received, Start::Beginning);
    }
    let (after, limit) = (node.memory(), 64 << 20);
    assert!(after < before + limit, "{before} bytes became {after}");
    node.assert_healthy();
}

#[tokio::test]
async fn hostile_bytes_cost_time_in_proportion_to_their_number() {
    let node = Process::start("").await;
    let _publisher = Publisher::with_group(node.rtmp, "live/a").await;
    for (address, Attack { bytes, .. }) in attacks(&node) {
        let cost = cost_of(&node, address, &bytes).await;
        let length = u32::try_from(bytes.len()).expect("a small attack");
        let start = bytes.get(..400).unwrap_or(&bytes).escape_ascii();
        assert!(
            cost <= COST_OF_CONNECTION + length * COST_OF_BYTE,
            "{length} bytes cost {cost:?}: {start}"
        );
    }
}

/// Sends bytes, and reads all answers until the media node is idle. Returns the CPU time that it has used.
async fn cost_of(node: &Process, address: SocketAddr, bytes: &[u8]) -> Duration {
    let before = node.cpu_time();
    let socket = TcpStream::connect(address).await;
    let (mut answers, mut socket) = socket.expect("a connection").into_split();
    let reader =
        tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });
    let mut cost = Duration::ZERO;
    let idle = async {
        loop {
            tokio::time::sleep(IDLE).await;
            let former = std::mem::replace(&mut cost, node.cpu_time() - before);
            if former == cost {
                return;
            }
        }
    };
    // The media node refuses some before it has read everything.
    let sent = async {
        drop(socket.write_all(bytes).await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sent => {}
        () = idle => {}
    }
    reader.abort();
    cost
}

fn attacks(node: &Process) -> impl Iterator<Item = (SocketAddr, Attack)> {
    let (rtmp, http) = (node.rtmp, node.http);
    let attacks = rtmp_attacks().into_iter().map(move |it| (rtmp, it));
    attacks.chain(http_attacks().into_iter().map(move |it| (http, it)))
}

/// What one attacker sends, and what it does then.
#[derive(Clone, Debug)]
struct Attack {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reads the answer for a moment, and closes.
    Read,
    /// Closes immediately, with unread answers: the socket is reset.
    Reset,
    /// Sends nothing more.
    Linger,
}

async fn throw(address: SocketAddr, attack: &Attack) {
    let moment = Duration::from_millis(400);
    let attack = async {
        let mut socket = TcpStream::connect(address).await?;
        let mut answer = vec![0; 4096];
        socket.write_all(&attack.bytes).await?;
        match attack.then {
            Then::Read => drop(tokio::time::timeout(moment, socket.read(&mut answer)).await),
            Then::Reset => socket.set_zero_linger()?,
            Then::Linger => tokio::time::sleep(moment).await,
        }
        std::io::Result::Ok(())
    };
    drop(tokio::time::timeout(moment * 3, attack).await);
}

/// Pseudo-random bytes, the same every time.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// C0, C1 and C2 of a simple handshake; the server's part is not read.
fn handshake() -> Vec<u8> {
    [&[3][..], &[0; 8], &noise(1, 1528), &[0; 8], &noise(2, 1528)].concat()
}

/// A type-0 header on chunk stream 3: timestamp, length, type, message stream 0.
fn header(length: [u8; 3], kind: u8) -> Vec<u8> {
    [&[3, 0, 0, 0][..], &length, &[kind, 0, 0, 0, 0]].concat()
}

fn rtmp_attacks() -> Vec<Attack> {
    let after_handshake = |(bytes, then): (Vec<u8>, Then)| {
        let bytes = [handshake(), bytes].concat();
        (bytes, then)
    };
    let later = chunk_attacks().into_iter().chain(command_attacks());
    let later = later.chain(stream_attacks());
    let attacks = handshake_attacks()
        .into_iter()
        .chain(later.map(after_handshake));
    attacks
        .map(|(bytes, then)| Attack { bytes, then })
        .collect()
}

fn handshake_attacks() -> Vec<(Vec<u8>, Then)> {
    vec![
        (noise(3, 5000), Then::Read),
        (vec![3; 1], Then::Linger),
        (noise(4, 700), Then::Linger),
        ([&[3][..], &noise(5, 1536)].concat(), Then::Reset),
        (vec![], Then::Linger),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Then::Read),
        (TLS_HELLO.to_vec(), Then::Read),
    ]
}

fn chunk_attacks() -> Vec<(Vec<u8>, Then)> {
    // A message that begins and never ends, on each of many chunk streams.
    let open: Vec<u8> = (64..320_u32)
        .flat_map(|stream| {
            let stream = (stream - 64).to_le_bytes();
            [
                &[0, stream[0]][..],
                &[0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0],
                &[0; 128],
            ]
            .concat()
        })
        .collect();
    let chunk_size = |size: [u8; 4]| [&header([0, 0, 4], 1)[..], &size].concat();
    vec![
        (noise(6, 20_000), Then::Read),
        (noise(7, 300_000), Then::Reset),
        (header([0xFF, 0xFF, 0xFF], 9), Then::Linger),
        (open, Then::Read),
        (vec![0xC3; 4000], Then::Read),
        (vec![0x01, 0xFF, 0xFF, 0xC1, 0xFF, 0xFF], Then::Read),
        (chunk_size([0, 0, 0, 0]), Then::Read),
        (chunk_size([0x7F, 0xFF, 0xFF, 0xFF]), Then::Read),
        (chunk_size([0xFF, 0xFF, 0xFF, 0xFF]), Then::Read),
    ]
}

fn command_attacks() -> Vec<(Vec<u8>, Then)> {
    let connect = [
        &[2, 0, 7][..],
        b"connect",
        &[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let connect_with = |value: &[u8]| chunks(20, &[&connect[..], value].concat());
    let pings = [&header([0, 0, 6], 4)[..], &[0, 6, 1, 2, 3, 4]].concat();
    let deep = [3, 0, 1, b'a'].repeat(20_000);
    vec![
        (connect_with(&deep), Then::Read),
        // An array, a map and a string of 2^32 - 1, and an object that ends within a name.
        (connect_with(&[10, 0xFF, 0xFF, 0xFF, 0xFF]), Then::Read),
        (connect_with(&[8, 0xFF, 0xFF, 0xFF, 0xFF]), Then::Read),
        (connect_with(&[12, 0xFF, 0xFF, 0xFF, 0xFF]), Then::Read),
        (connect_with(&[3, 0, 3, b'a', b'p']), Then::Read),
        (chunks(20, b"\x02\xFF\xFFx"), Then::Read),
        (chunks(20, &noise(8, 100)), Then::Read),
        (pings.repeat(20_000), Then::Reset),
        (chunks(20, &connect).repeat(500), Then::Read),
    ]
}

/// What a client sends after its `connect`.
fn stream_attacks() -> Vec<(Vec<u8>, Then)> {
    let number = |message_type: u8, number: u32| chunks(message_type, &number.to_be_bytes());
    let named = |name: &str| raw_rtmp::command(&[name.into(), 2.0.into(), Value::Null]);
    let with = |name: &str, argument: Value| {
        raw_rtmp::command(&[name.into(), 0.0.into(), Value::Null, argument])
    };
    let play = || with("play", "a".into());
    let publish = || with("publish", "b".into());
    // Abort of a chunk stream, acknowledgement windows, a chunk size with its first bit set.
    let control = [
        number(2, 3),
        number(5, 0),
        number(5, u32::MAX),
        number(1, 1 << 31 | 128),
    ];
    // Shared objects in both formats of AMF, a command in AMF 3, an aggregate with a truncated part.
    let rare = [16, 19, 17, 22].map(|message_type| chunks(message_type, &noise(9, 90)));
    let edges = [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX].map(|timestamp: u32| {
        let header = [
            &[4, 0xFF, 0xFF, 0xFF, 0, 0, 2, 8, 1, 0, 0, 0][..],
            &timestamp.to_be_bytes(),
        ];
        [&header.concat()[..], &[0xAF, 1]].concat()
    });
    let loops = [named("createStream"), named("deleteStream")].concat();
    let pauses = [
        with("pause", Value::Boolean(true)),
        with("pause", Value::Boolean(false)),
    ];
    let pauses = [&pauses.concat()[..], &with("seek", 1.0.into())].concat();
    let sent = [
        control.concat().repeat(500),
        rare.concat().repeat(200),
        loops.repeat(1_000),
        [play(), publish()].concat().repeat(200),
        [play(), pauses.repeat(1_000)].concat(),
        [publish(), edges.concat().repeat(500)].concat(),
    ];
    let connect = raw_rtmp::connect(&[("app", "live")]);
    let sent = sent
        .into_iter()
        .map(|bytes| [&connect[..], &bytes].concat());
    let ends = [Then::Read, Then::Reset].into_iter().cycle();
    sent.zip(ends).collect()
}

fn http_attacks() -> Vec<Attack> {
    let attacks = header_attacks().into_iter().chain(path_attacks());
    attacks
        .chain(websocket_attacks())
        .map(|(bytes, then)| Attack { bytes, then })
        .collect()
}

fn header_attacks() -> Vec<(Vec<u8>, Then)> {
    let long_path = [&b"GET /"[..], &b"a".repeat(200_000), b" HTTP/1.1\r\n\r\n"];
    let many_headers = [
        &b"GET / HTTP/1.1\r\n"[..],
        &b"x: y\r\n".repeat(20_000),
        b"\r\n",
    ];
    vec![
        (noise(11, 5000), Then::Read),
        (vec![], Then::Linger),
        (b"G".to_vec(), Then::Linger),
        (b"\0".repeat(100_000), Then::Read),
        (long_path.concat(), Then::Read),
        (many_headers.concat(), Then::Read),
        (
            b"GET /live/a.flv HTTP/1.1\r\nHost: x\r\n".to_vec(),
            Then::Linger,
        ),
        (b"GET /live/a.flv HTTP/9.9\r\n\r\n".to_vec(), Then::Read),
        (
            b"POST /live/a.flv HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
            Then::Read,
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".to_vec(),
            Then::Read,
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Then::Read),
        (TLS_HELLO.to_vec(), Then::Read),
    ]
}

fn path_attacks() -> Vec<(Vec<u8>, Then)> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    vec![
        (get("/../../../etc/passwd"), Then::Read),
        (get("/live/%00%ff%2e%2e%2f.flv"), Then::Read),
        (get("/%zz/x.flv?vhost=%&%=%"), Then::Read),
        (get(&format!("/{}/x.flv", "a/".repeat(3000))), Then::Read),
        (get("/live/missing.flv"), Then::Reset),
        (get("/live/a.flv"), Then::Reset),
        (get("/live/a.flv").repeat(100), Then::Read),
    ]
}

fn websocket_attacks() -> Vec<(Vec<u8>, Then)> {
    let upgrade =
        b"GET /live/a.flv HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let huge = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(5000);
    vec![
        ([&upgrade[..], &noise(12, 5000)].concat(), Then::Read),
        ([&upgrade[..], &huge].concat(), Then::Read),
        ([&upgrade[..], &pings].concat(), Then::Reset),
    ]
}

/// The first bytes of a TLS client.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
