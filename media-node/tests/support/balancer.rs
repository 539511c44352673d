//! A load balancer that forwards TCP connections, and PROXY headers.

use std::net::SocketAddr;

use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Starts a load balancer whose connections to `address` begin with `header`. Returns its address.
pub(crate) async fn balancer(address: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(address).await.unwrap();
                drop(server.write_all(&header).await);
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    own
}

/// Returns a PROXY header of version 1 with this address of the client.
pub(crate) fn v1(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (ip, port) = (client.ip(), client.port());
    if client.is_ipv4() {
        format!("PROXY TCP4 {ip} 198.51.100.1 {port} 80\r\n").into_bytes()
    } else {
        format!("PROXY TCP6 {ip} 2001:db8::ffff {port} 80\r\n").into_bytes()
    }
}

/// Returns a PROXY header of version 2 with this IPv4 address of the client.
pub(crate) fn v2(client: &str) -> Vec<u8> {
    let SocketAddr::V4(client) = client.parse().unwrap() else {
        panic!("{client} is not IPv4");
    };
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C";
    let addresses = [client.ip().octets(), [198, 51, 100, 1]].concat();
    let ports = [client.port(), 80].map(u16::to_be_bytes).concat();
    [&start[..], &addresses, &ports].concat()
}
