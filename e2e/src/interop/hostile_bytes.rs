//! Nonsense, malice and idleness on both ports, while viewers on that node watch undisturbed; afterwards the node is as it was.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::Stage;
use crate::media::comparison::{From, compare};
use crate::media::recording::Recording;
use crate::media::rtmp::{Numbered, Publisher};
use crate::media::viewer::Viewer;

/// Connections of each kind.
const OF_EACH: usize = 40;

/// Nobody who watches may wait longer between two packets that are 20 ms apart.
const LONGEST_SILENCE: Duration = Duration::from_millis(1500);

pub(super) async fn run(stage: Stage) -> Result<String> {
    let mut nodes = stage
        .nodes("playWaitSeconds: 5, continuitySeconds: 2")
        .await?;
    let edge = nodes.all[1].clone();
    let film = Numbered::PLAIN.messages(25 * 20);
    let mut publisher = Publisher::open(&edge.rtmp("live/film")).await?;
    let mut viewers = vec![
        Viewer::http(&edge.http("live/film")),
        Viewer::rtmp(&edge.rtmp("live/film")),
    ];
    let before = nodes.process.memory()?;
    let began = Instant::now();
    let attack = async {
        let mut count = 0;
        let films = [
            (edge.rtmp_address(), rtmp_attacks()),
            (edge.http_address(), http_attacks()),
        ];
        for (address, attacks) in films {
            for attack in attacks {
                let all = (0..OF_EACH).map(|_| throw(address, &attack));
                futures::future::join_all(all).await;
                count += OF_EACH;
                if began.elapsed() > Duration::from_secs(18) {
                    return count;
                }
            }
        }
        count
    };
    let (played, thrown) = tokio::join!(publisher.play(&film), attack);
    played.context("the publisher was disturbed")?;
    publisher.finish().await?;
    let sent = Recording::of(&film);
    let mut silence = Duration::ZERO;
    for viewer in &mut viewers {
        viewer.end(Duration::from_secs(15)).await?;
        compare(&sent, &viewer.recording(), From::Start)
            .with_context(|| viewer.name().to_owned())?;
        silence = silence.max(viewer.look(|seen| seen.longest_silence));
    }
    ensure!(
        silence < LONGEST_SILENCE,
        "a viewer waited {silence:?} for the next packet"
    );
    ensure!(
        nodes.process.is_running(),
        "the node has died{}",
        nodes.process.told()
    );
    let after = nodes.process.memory()?;
    ensure!(
        after < before + (64 << 20),
        "the node took {} MiB more memory",
        (after - before) >> 20
    );
    ensure!(
        !nodes.process.output().contains("panicked"),
        "a panic{}",
        nodes.process.told()
    );
    nodes.stop().await?;
    Ok(format!(
        "{thrown} attacks, longest silence of a viewer {silence:?}, memory {} -> {} MiB",
        before >> 20,
        after >> 20
    ))
}

/// What one attacker does.
#[derive(Clone, Debug)]
struct Attack {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reads what is answered for a moment, and goes.
    Read,
    /// Goes at once, answers unread: the socket is reset.
    Reset,
    /// Says nothing more.
    Linger,
}

async fn throw(address: (Ipv4Addr, u16), attack: &Attack) {
    let patience = Duration::from_millis(400);
    let _ = tokio::time::timeout(patience * 3, async {
        let mut socket = TcpStream::connect(address).await?;
        let mut answer = vec![0; 4096];
        socket.write_all(&attack.bytes).await?;
        match attack.then {
            Then::Read => drop(tokio::time::timeout(patience, socket.read(&mut answer)).await),
            Then::Reset => socket.set_zero_linger()?,
            Then::Linger => tokio::time::sleep(patience).await,
        }
        std::io::Result::Ok(())
    })
    .await;
}

/// Bytes that look like chance, the same every time.
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

/// C0, C1 and C2 of a simple handshake; the server's part is not awaited.
fn handshake() -> Vec<u8> {
    [&[3][..], &[0; 8], &noise(1, 1528), &[0; 8], &noise(2, 1528)].concat()
}

fn rtmp_attacks() -> Vec<Attack> {
    let after = |bytes: &[u8]| [&handshake(), bytes].concat();
    // A type-0 head on chunk stream 3: timestamp, length, type, message stream 0.
    let head =
        |length: [u8; 3], kind: u8| [&[3, 0, 0, 0][..], &length, &[kind, 0, 0, 0, 0]].concat();
    let command = |body: &[u8]| {
        let [.., high, middle, low] = (body.len() as u64).to_be_bytes();
        let mut bytes = head([high, middle, low], 20);
        for (index, piece) in body.chunks(128).enumerate() {
            if index > 0 {
                bytes.push(0xC3);
            }
            bytes.extend_from_slice(piece);
        }
        bytes
    };
    let connect = [
        &[2, 0, 7][..],
        b"connect",
        &[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let deep = [&connect[..], &[3, 0, 1, b'a'].repeat(20_000)].concat();
    let array = [&connect[..], &[10, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
    let map = [&connect[..], &[8, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
    let long = [&connect[..], &[12, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
    let cut = [&connect[..], &[3, 0, 3, b'a', b'p']].concat();
    // A new message begun on each of many chunk streams, none ended.
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
    let chunk_size = |size: [u8; 4]| [&head([0, 0, 4], 1)[..], &size].concat();
    let pings = [&head([0, 0, 6], 4)[..], &[0, 6, 1, 2, 3, 4]]
        .concat()
        .repeat(20_000);
    [
        (noise(3, 5000), Then::Read),
        (vec![3; 1], Then::Linger),
        (noise(4, 700), Then::Linger),
        ([&[3][..], &noise(5, 1536)].concat(), Then::Reset),
        (vec![], Then::Linger),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Then::Read),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            Then::Read,
        ),
        (after(&noise(6, 20_000)), Then::Read),
        (after(&noise(7, 300_000)), Then::Reset),
        (after(&head([0xFF, 0xFF, 0xFF], 9)), Then::Linger),
        (after(&open), Then::Read),
        (after(&[0xC3; 4000]), Then::Read),
        (after(&[0x01, 0xFF, 0xFF, 0xC1, 0xFF, 0xFF]), Then::Read),
        (after(&chunk_size([0, 0, 0, 0])), Then::Read),
        (after(&chunk_size([0x7F, 0xFF, 0xFF, 0xFF])), Then::Read),
        (after(&chunk_size([0xFF, 0xFF, 0xFF, 0xFF])), Then::Read),
        (after(&command(&deep)), Then::Read),
        (after(&command(&array)), Then::Read),
        (after(&command(&map)), Then::Read),
        (after(&command(&long)), Then::Read),
        (after(&command(&cut)), Then::Read),
        (after(&command(b"\x02\xFF\xFFx")), Then::Read),
        (after(&command(&noise(8, 100))), Then::Read),
        (after(&pings), Then::Reset),
        (after(&command(&connect).repeat(500)), Then::Read),
    ]
    .into_iter()
    .map(|(bytes, then)| Attack { bytes, then })
    .collect()
}

fn http_attacks() -> Vec<Attack> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let upgrade =
        b"GET /live/film.flv HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    [
        (noise(11, 5000), Then::Read),
        (vec![], Then::Linger),
        (b"G".to_vec(), Then::Linger),
        (b"\0".repeat(100_000), Then::Read),
        (
            [&b"GET /"[..], &b"a".repeat(200_000), b" HTTP/1.1\r\n\r\n"].concat(),
            Then::Read,
        ),
        (
            [
                &b"GET / HTTP/1.1\r\n"[..],
                &b"x: y\r\n".repeat(20_000),
                b"\r\n",
            ]
            .concat(),
            Then::Read,
        ),
        (
            b"GET /live/film.flv HTTP/1.1\r\nHost: x\r\n".to_vec(),
            Then::Linger,
        ),
        (b"GET /live/film.flv HTTP/9.9\r\n\r\n".to_vec(), Then::Read),
        (
            b"POST /live/film.flv HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"
                .to_vec(),
            Then::Read,
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".to_vec(),
            Then::Read,
        ),
        (get("/../../../etc/passwd"), Then::Read),
        (get("/live/%00%ff%2e%2e%2f.flv"), Then::Read),
        (get("/%zz/x.flv?vhost=%&%=%"), Then::Read),
        (get(&format!("/{}/x.flv", "a/".repeat(3000))), Then::Read),
        (get("/live/nobody.flv"), Then::Reset),
        (get("/live/film.flv"), Then::Reset),
        (get("/live/film.flv").repeat(100), Then::Read),
        ([&upgrade[..], &noise(12, 5000)].concat(), Then::Read),
        (
            [
                &upgrade[..],
                &[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            ]
            .concat(),
            Then::Read,
        ),
        (
            [&upgrade[..], &[0x89, 0x80, 0, 0, 0, 0].repeat(5000)].concat(),
            Then::Reset,
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Then::Read),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            Then::Read,
        ),
    ]
    .into_iter()
    .map(|(bytes, then)| Attack { bytes, then })
    .collect()
}
