//! Viewers that do not read, and viewers that read slowly.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use media_engine::{EngineSettings, Registry};
use media_wire::StreamKey;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::auth::Grant;
use crate::state::clients::{ClientGuard, ClientKind, ClientRole, Clients, NewClient};

#[tokio::test(start_paused = true)]
async fn viewer_that_accepts_a_few_bytes_now_and_then_is_disconnected() {
    let (mut socket, mut reader, peer) = connection().await;
    let client = client(peer);
    let registry = Registry::new(EngineSettings::default());
    let timeouts = [60, 1].map(Duration::from_secs);
    let mut viewer = delivery(&mut socket, &client, &registry, timeouts);
    let mut batch = Bytes::from(vec![0; 64 << 20]);
    let slow_reads = async {
        // At this rate the batch would take half a minute.
        let mut buffer = vec![0; 64 << 10];
        loop {
            drop(reader.read(&mut buffer).await);
            sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        sent = viewer.send(&mut batch, None) => assert_eq!(sent, Err(ViewerEnd::Stalled)),
        () = slow_reads => {}
    }
}

/// Returns a viewer's connection and its peer.
async fn connection() -> (Socket, TcpStream, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer = listener.local_addr().unwrap();
    let client = TcpStream::connect(peer).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    (Socket::Plain(socket.into()), client, peer)
}

/// Returns a delivery with these timeouts for a stall and for a batch.
fn delivery<'a>(
    socket: &'a mut Socket,
    client: &'a Client,
    registry: &'a Registry,
    [stall_timeout, batch_timeout]: [Duration; 2],
) -> Delivery<'a> {
    Delivery {
        stall_timeout,
        batch_timeout,
        ..Delivery::new(socket, client, &Limits::default(), registry, i64::MAX)
    }
}

fn client(peer: SocketAddr) -> ClientGuard {
    Clients::new().enter(NewClient {
        id: 1,
        grant: Grant::default(),
        peer,
        kind: ClientKind::Ws,
        role: ClientRole::Viewer,
        stream: key(),
        agent: String::new(),
    })
}

fn key() -> StreamKey {
    StreamKey::new(None, "live", "a").unwrap()
}

#[tokio::test]
async fn viewer_disconnected_mid_batch_ends_abruptly() {
    let (mut socket, _reads_nothing, peer) = connection().await;
    let client = client(peer);
    let registry = Registry::new(EngineSettings::default());
    let timeouts = [60, 600].map(Duration::from_secs);
    let mut viewer = delivery(&mut socket, &client, &registry, timeouts);
    // More than the socket buffers hold.
    let mut batch = Bytes::from(vec![0; 64 << 20]);
    let (sent, ()) = tokio::join!(viewer.send(&mut batch, None), async {
        client.stop(StopReason::Kicked);
    });
    assert_eq!(
        sent,
        Err(ViewerEnd::DisconnectedMidMessage(StopReason::Kicked))
    );
    assert!(ViewerEnd::DisconnectedMidMessage(StopReason::Kicked).is_abrupt());
}

#[tokio::test(start_paused = true)]
async fn stalled_viewer_is_disconnected_earlier_while_memory_is_full() {
    let (mut socket, _reads_nothing, peer) = connection().await;
    let client = client(peer);
    let registry = Registry::new(EngineSettings {
        media_memory_bytes: 2 << 20,
        ..EngineSettings::default()
    });
    let mut incomplete = registry.incomplete_messages();
    incomplete.hold(3 << 20).expect_err("more than the memory");
    // An eighth of the first one passes before the first attempt.
    let timeouts = [30, 300].map(Duration::from_secs);
    let mut viewer = delivery(&mut socket, &client, &registry, timeouts);
    let since = Instant::now();
    let mut batch = Bytes::from(vec![0; 64 << 20]);
    let sent = viewer.send(&mut batch, None).await;
    assert_eq!(sent, Err(ViewerEnd::Stalled));
    assert!(since.elapsed() < Duration::from_secs(30));
}
