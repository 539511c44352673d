//! A proxy whose connections share a slow link, on which small requests wait for large ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::cluster::NEVER;

/// Bytes of the stream of an encoder in a second.
const STREAM: f64 = 150_000.0;
/// Bytes that a connection sends before others get a turn.
const TURN: usize = 128 << 10;

/// A slow link. Clones are the same link.
#[derive(Clone)]
pub(super) struct SlowLink {
    /// Bytes in a second.
    rate: f64,
    turn: Arc<Mutex<()>>,
}

impl SlowLink {
    /// Returns a link on which so many times the stream of an encoder passes.
    pub(super) fn of(streams: f64) -> Self {
        Self {
            rate: streams * STREAM,
            turn: Arc::default(),
        }
    }

    /// Starts a proxy in front of a media node. Returns its address.
    pub(super) async fn to(&self, node: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let link = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, node, link.clone()));
            }
        });
        address
    }
}

async fn carry(client: TcpStream, to: SocketAddr, link: SlowLink) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::join!(
        async {
            pass_slowly(from_client, &mut to_server, &link).await;
            drop(to_server.shutdown().await);
        },
        async {
            drop(copy(&mut from_server, &mut to_client).await);
            drop(to_client.shutdown().await);
        },
    );
}

async fn pass_slowly(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWriteExt + Unpin),
    link: &SlowLink,
) {
    let mut turn = vec![0; TURN];
    loop {
        let mut length = 0;
        // All that is there is one turn.
        while length < TURN {
            let more = from.read(&mut turn[length..]);
            match timeout(if length == 0 { NEVER } else { Duration::ZERO }, more).await {
                Ok(Ok(read @ 1..)) => length += read,
                Ok(_) if length == 0 => return,
                Ok(_) | Err(_) => break,
            }
        }
        let _turn = link.turn.lock().await;
        sleep(Duration::from_secs_f64(length as f64 / link.rate)).await;
        if to.write_all(&turn[..length]).await.is_err() {
            return;
        }
    }
}
