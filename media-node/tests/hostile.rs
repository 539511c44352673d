//! Invalid bytes on every port do not affect other clients.

use crate::support::{FlvViewer, Publisher, RawConnection, TestNode};

/// Returns pseudo-random bytes, the same in every run, so that a failure is reproducible.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    });
    bytes.take(length).collect()
}

#[tokio::test]
async fn garbage_on_every_port_closes_its_connection_only() {
    let node = TestNode::with(|config| config.limits.handshake_timeout_seconds = 3).await;
    let mut publisher = Publisher::with_group(node.addresses.rtmp, "live/a").await;
    let mut viewer = FlvViewer::open(node.addresses.http, "/live/a.flv").await;

    let mut attacks = tokio::task::JoinSet::new();
    for port in [
        node.addresses.rtmp,
        node.addresses.http,
        node.addresses.internal,
    ] {
        for seed in 0..20 {
            attacks.spawn(async move {
                let mut connection = RawConnection::connect(port).await;
                let mut bytes = noise(seed * 7919 + 1, 20_000);
                match seed % 4 {
                    // A valid handshake version, and garbage after it.
                    0 => bytes[0] = 3,
                    1 => bytes
                        .splice(0..0, *b"GET /live/a.flv HTTP/1.1\r\n")
                        .for_each(drop),
                    2 => bytes
                        .splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                        .for_each(drop),
                    _ => {}
                }
                connection.send(&bytes).await;
                connection.rest().await;
            });
        }
    }
    publisher.send_group(10).await;
    while let Some(attack) = attacks.join_next().await {
        attack.expect("a closed connection");
    }
    publisher.send_group(20).await;
    for number in 0..30 {
        assert_eq!(viewer.numbered().await.unwrap().0, number);
    }
}
