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
    /// A part of the first request of each connection that stalls.
    stalled: watch::Sender<&'static str>,
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
        let stalled = watch::Sender::new("");
        let stalls = stalled.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (states, forgets, stalls) = (states.clone(), forgets.clone(), stalls.clone());
                tokio::spawn(proxy(client, to, states, forgets, stalls));
            }
        });
        Self {
            address,
            frozen,
            forgotten,
            stalled,
        }
    }

    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Closes the connections to the media node. Its clients do not notice that.
    pub(super) fn forget(&self) {
        self.forgotten.send_replace(());
    }

    /// Passes nothing on any more over the connections whose first request contains this.
    pub(super) fn stall(&self, part: &'static str) {
        self.stalled.send_replace(part);
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
    mut stalled: watch::Receiver<&'static str>,
) {
    forgotten.mark_unchanged();
    stalled.mark_unchanged();
    if frozen.wait_for(|frozen| !*frozen).await.is_err() {
        return;
    }
    let mut request = [0; 1024];
    let Ok(read) = client.peek(&mut request).await else {
        return;
    };
    let request = String::from_utf8_lossy(&request[..read]);
    let is_stalled =
        async { while stalled.changed().await.is_ok() && !request.contains(*stalled.borrow()) {} };
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = frozen.wait_for(|frozen| *frozen) => {}
        () = is_stalled => {}
        _ = forgotten.changed() => drop(server),
    }
    pending().await
}
