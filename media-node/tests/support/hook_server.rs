//! An HTTP server that media nodes ask and notify as their hook. The unit tests of `auth` use it too.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Starts a server that gives each callback the status and body that `answer` returns. Returns its address and the callbacks.
pub(crate) async fn hook_server(
    answer: impl Fn(&Value) -> (&'static str, &'static str) + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let json = loop {
                socket.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request).into_owned();
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
                if let Some(Ok(json)) = body.map(serde_json::from_str::<Value>) {
                    break json;
                }
            };
            let (status, body) = answer(&json);
            drop(sender.send(json).await);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            drop(socket.write_all(answer.as_bytes()).await);
        }
    });
    (address, received)
}
