//! A proxy that makes a media node hang for a while.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy in front of a media node. Frozen, it keeps its connections open and passes nothing on. Thawed, it serves the
/// connections that were made since it froze; the older ones stay frozen.
pub(super) struct Freezer {
    pub(super) address: SocketAddr,
    frozen: watch::Sender<bool>,
    forgotten: watch::Sender<()>,
}

impl Freezer {
    pub(super) async fn start(to: SocketAddr) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), to).await
    }

    /// Starts a proxy with an address.
    pub(super) async fn start_at(address: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let frozen = watch::Sender::new(false);
        let states = frozen.subscribe();
        let forgotten = watch::Sender::new(());
        let forgets = forgotten.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(proxy(client, to, states.clone(), forgets.clone()));
            }
        });
        Self {
            address,
            frozen,
            forgotten,
        }
    }

    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Closes the connections to the media node. Its clients do not notice that.
    pub(super) fn forget(&self) {
        self.forgotten.send_replace(());
    }

    pub(super) fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn proxy(
    mut client: TcpStream,
    to: SocketAddr,
    mut frozen: watch::Receiver<bool>,
    mut forgotten: watch::Receiver<()>,
) {
    forgotten.mark_unchanged();
    if frozen.wait_for(|frozen| !*frozen).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = frozen.wait_for(|frozen| *frozen) => {}
        _ = forgotten.changed() => drop(server),
    }
    pending().await
}
