//! Handshakes of TLS that are cut into pieces, that are as large as they may be, or that never end.

use super::{MIB, beside_honest_clients};
use crate::support::tls::CERTIFICATES;
use crate::support::{Process, RawConnection, connect_from_elsewhere, eventually};

/// Returns a ClientHello of TLS 1.3 with further extensions.
fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let extensions = [&versions[..], extensions].concat();
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let start = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let body = [&start[..], &length, &extensions].concat();
    let [.., high, middle, low] = (body.len() as u64).to_be_bytes();
    [&[1, high, middle, low][..], &body].concat()
}

fn extension(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0, number][..], &length, content].concat()
}

/// Returns a handshake message in records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[0x16, 3, 1][..], &length, piece].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

#[tokio::test]
async fn large_and_slow_handshakes_disturb_no_viewer() {
    let tls =
        format!("tls: {{certificate: {CERTIFICATES}/first.crt, key: {CERTIFICATES}/first.key}}");
    let node = Process::start_with(", handshakeTimeoutSeconds: 5", &tls).await;
    beside_honest_clients(node, 96 * MIB, async |node| {
        let padded = client_hello(&extension(21, &[0; 60_000]));
        let names = b"\x08http/1.1".repeat(1_800);
        let length = u16::try_from(names.len()).unwrap().to_be_bytes();
        let many_names = client_hello(&extension(16, &[&length[..], &names].concat()));
        let mut held = Vec::new();
        let large = [&padded, &many_names].map(|hello| records(hello, 16_000));
        // The library refuses so many records, and reads the large ones to their end.
        for sent in large.into_iter().chain([records(&padded, 1)]) {
            for number in 0..20 {
                let mut connection = RawConnection::over(
                    connect_from_elsewhere(node.https.expect("a port with TLS")).await,
                );
                // Half of them lack their last byte.
                connection.send(&sent[..sent.len() - number % 2]).await;
                held.push(connection);
            }
        }
        let failed = "live_tls_handshakes_failed_total{reason=\"timeout\"}";
        eventually(failed, async || node.metric(failed).await >= 20).await;
        held
    })
    .await;
}
