//! A way to a node that can hang, for a while.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on to a node until it is told to freeze; then connections stay, and nothing moves. Thawed, it passes on what
/// comes over those that were made since it froze.
pub(super) struct Freezer {
    pub(super) address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Freezer {
    pub(super) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let frozen = watch::Sender::new(false);
        let freezing = frozen.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, freezing.clone()));
            }
        });
        Self { address, frozen }
    }

    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub(super) fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn pass(mut client: TcpStream, to: SocketAddr, mut frozen: watch::Receiver<bool>) {
    if frozen.wait_for(|frozen| !*frozen).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = frozen.wait_for(|frozen| *frozen) => {}
    }
    std::future::pending().await
}
