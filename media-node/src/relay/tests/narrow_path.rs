//! A proxy on whose path large packets are silently lost.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that still pass in one packet.
const LARGEST: usize = 1300;

/// A proxy in front of a media node. Once it is narrow, a connection passes nothing more after its first large packet. Those of a client with
/// small TCP segments have none.
pub(super) struct NarrowPath {
    pub(super) address: SocketAddr,
    is_narrow: watch::Sender<bool>,
}

impl NarrowPath {
    pub(super) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_narrow = watch::Sender::new(false);
        let states = is_narrow.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, states.clone()));
            }
        });
        Self { address, is_narrow }
    }

    /// Loses large packets from now on.
    pub(super) fn narrow(&self) {
        self.is_narrow.send_replace(true);
    }
}

async fn carry(client: TcpStream, to: SocketAddr, is_narrow: watch::Receiver<bool>) {
    let segment = SockRef::from(&client).tcp_mss().unwrap();
    let fits = segment as usize <= LARGEST;
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        copy(from_client, to_server, fits, &is_narrow),
        copy(from_server, to_client, fits, &is_narrow),
    );
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fits: bool,
    is_narrow: &watch::Receiver<bool>,
) {
    let mut packet = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut packet).await {
        if length > LARGEST && !fits && *is_narrow.borrow() {
            // It is sent again and again.
            pending::<()>().await;
        }
        if to.write_all(&packet[..length]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}
