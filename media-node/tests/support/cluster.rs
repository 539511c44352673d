//! Clusters of media nodes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use media_node::{NodeConfig, Timings};

use super::TestNode;

/// Starts the origins of one cluster. Each is configured with all of them, including itself.
pub(crate) async fn origins<const COUNT: usize>(
    change: impl Fn(&mut NodeConfig),
) -> [TestNode; COUNT] {
    origins_with(Timings::default(), change).await
}

/// Starts the origins of one cluster, with other waits.
pub(crate) async fn origins_with<const COUNT: usize>(
    timings: Timings,
    change: impl Fn(&mut NodeConfig),
) -> [TestNode; COUNT] {
    let addresses: [SocketAddr; COUNT] = std::array::from_fn(|_| reserve());
    let mut origins = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let origin = TestNode::with_timings(timings, |config| {
            config.name = format!("origin-{number}");
            config.listen.internal = *address;
            config.origins.addresses = addresses.iter().map(ToString::to_string).collect();
            change(config);
        });
        origins.push(origin.await);
    }
    origins
        .try_into()
        .ok()
        .expect("one origin for each address")
}

/// Starts an edge of these origins.
pub(crate) async fn edge(origins: &[TestNode], change: impl Fn(&mut NodeConfig)) -> TestNode {
    edge_with(origins, Timings::default(), change).await
}

/// Starts an edge of these origins, with other waits.
pub(crate) async fn edge_with(
    origins: &[TestNode],
    timings: Timings,
    change: impl Fn(&mut NodeConfig),
) -> TestNode {
    let addresses = origins
        .iter()
        .map(|origin| origin.addresses.internal.to_string());
    TestNode::with_timings(timings, |config| {
        config.name = "edge".to_owned();
        config.role = media_config::Role::Edge;
        config.origins.addresses = addresses.collect();
        change(config);
    })
    .await
}

/// Returns a free port on an address of its own, so that it is still free when the media node opens it.
fn reserve() -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Returns a loopback address that nothing else uses: the ports of a media node that ends there stay free.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed))
}
