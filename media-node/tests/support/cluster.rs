//! Nodes that know each other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use media_node::NodeConfig;

use super::TestNode;

/// Origins of one cluster. Each one's list has all of them, itself too.
pub(crate) async fn origins<const COUNT: usize>(
    change: impl Fn(&mut NodeConfig),
) -> [TestNode; COUNT] {
    let addresses: [SocketAddr; COUNT] = std::array::from_fn(|_| reserve());
    let mut origins = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let origin = TestNode::with(|config| {
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
        .expect("as many as there are addresses")
}

/// An edge of these origins.
pub(crate) async fn edge(origins: &[TestNode], change: impl Fn(&mut NodeConfig)) -> TestNode {
    let addresses = origins
        .iter()
        .map(|origin| origin.addresses.internal.to_string());
    TestNode::with(|config| {
        config.name = "edge".to_owned();
        config.role = media_config::Role::Edge;
        config.origins.addresses = addresses.collect();
        change(config);
    })
    .await
}

/// A free port on a loopback address that nothing else uses, so that it is still free when the node opens it.
fn reserve() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind((own, 0)).unwrap();
    listener.local_addr().unwrap()
}
