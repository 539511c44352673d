//! Hooks whose server misbehaves: each question is refused within its time, other servers are not asked instead, and who needs no
//! hook is served meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use media_config::{AccessSettings, FailurePolicy, HookSettings};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{FAST, publish, publish_error};
use crate::support::{
    FlvViewer, Publisher, RawConnection, TestNode, connect_from_elsewhere, request,
};

const UNAVAILABLE: &str = "the authorization hook does not respond, try again later";
const REFUSED: &str = "the stream's owner refused";

/// The stream by which the server decides how to misbehave, and the reason that the encoder gets.
const KINDS: [(&str, &str); 11] = [
    ("closes", UNAVAILABLE),
    ("resets", UNAVAILABLE),
    ("silent", UNAVAILABLE),
    ("nonsense", UNAVAILABLE),
    ("endless-headers", UNAVAILABLE),
    ("endless-body", UNAVAILABLE),
    ("huge-body", UNAVAILABLE),
    ("cut-off", UNAVAILABLE),
    ("redirect", REFUSED),
    ("deep-json", REFUSED),
    ("lies", REFUSED),
];

/// Those that only the timeout ends.
const ENDLESS: [&str; 3] = ["silent", "endless-headers", "endless-body"];

#[tokio::test]
async fn hook_server_that_misbehaves_refuses_within_its_time_and_costs_little() {
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let server = misbehaving_server(elsewhere.local_addr().unwrap(), Arc::clone(&taken)).await;
    let (patient, impatient) = (nodes(server, 30).await, nodes(server, 1).await);
    let refused = KINDS.map(|(kind, reason)| {
        let is_endless = ENDLESS.contains(&kind);
        let [denying, allowing] = if is_endless { &impatient } else { &patient };
        async move {
            let stream = format!("live/{kind}");
            let (_, message) = publish_error(denying, &stream).await;
            assert_eq!(message, reason, "{kind}");
            // The policy is for a server that does not respond, and not for one that refuses.
            let allowed = Publisher::try_start(allowing.addresses.rtmp, &stream).await;
            assert_eq!(allowed.is_ok(), reason == UNAVAILABLE, "{kind}");
        }
    });
    let others = async {
        for _ in 0..20 {
            let page = request(impatient[0].addresses.http, "GET", "/streams.json").await;
            assert_eq!(page.status, 200);
        }
    };
    tokio::join!(futures::future::join_all(refused), others);
    let followed = futures::future::FutureExt::now_or_never(elsewhere.accept());
    assert!(followed.is_none(), "the redirect is followed");
    // Most of them are in the buffers of the sockets.
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < 32 << 20, "{taken} bytes of an answer are read");
}

/// Clients that a hook does not answer about. It has fewer questions at one time.
const UNANSWERED: usize = 200;

#[tokio::test]
async fn clients_that_a_hook_does_not_answer_about_keep_only_their_own_address_waiting() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = TestNode::with(|config| {
        config.auth.play = hook(address, 30, FailurePolicy::Deny);
    })
    .await;
    let _publisher = publish(&node, "live/allows").await;
    let mut waiting = Vec::new();
    for _ in 0..UNANSWERED {
        let socket = connect_from_elsewhere(node.addresses.http).await;
        let mut client = RawConnection::over(socket);
        client
            .send("GET /live/silent.flv HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        waiting.push(client);
    }
    // All questions that the address may have at one time, or all that there are.
    let mut unanswered = Vec::new();
    while let Ok(asked) = tokio::time::timeout(FAST, listener.accept()).await {
        unanswered.push(asked.unwrap());
    }
    assert!(unanswered.len() < UNANSWERED, "the test needs more clients");
    tokio::spawn(serve(listener, address, Arc::default()));
    FlvViewer::open(node.addresses.http, "/live/allows.flv").await;
    let answered =
        futures::future::select_all(waiting.iter_mut().map(|client| Box::pin(client.read())));
    let answered = futures::future::FutureExt::now_or_never(answered);
    assert!(
        answered.is_none(),
        "a client is answered that the hook was not asked about"
    );
}

/// Starts media nodes that refuse and allow encoders when the hook does not respond within this time.
async fn nodes(server: SocketAddr, timeout_seconds: u32) -> [TestNode; 2] {
    let node = |policy| {
        TestNode::with(move |config| {
            config.auth.publish = hook(server, timeout_seconds, policy);
        })
    };
    [
        node(FailurePolicy::Deny).await,
        node(FailurePolicy::Allow).await,
    ]
}

fn hook(server: SocketAddr, timeout_seconds: u32, failure_policy: FailurePolicy) -> AccessSettings {
    AccessSettings {
        hook: Some(HookSettings {
            url: format!("http://{server}/hook"),
            timeout_seconds,
            failure_policy,
        }),
        ..AccessSettings::default()
    }
}

/// Starts a server that answers each question as the stream of its callback says. It counts the bytes of its long answer in `taken`.
async fn misbehaving_server(elsewhere: SocketAddr, taken: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, elsewhere, taken));
    address
}

async fn serve(listener: TcpListener, elsewhere: SocketAddr, taken: Arc<AtomicUsize>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let taken = Arc::clone(&taken);
        tokio::spawn(async move {
            // The media node may close first.
            let stream = asked(&mut socket).await?;
            match stream.as_str() {
                "huge-body" => send_huge_body(&mut socket, &taken).await,
                kind => misbehave(&mut socket, kind, elsewhere).await,
            }
        });
    }
}

/// Reads a question. Returns its stream.
async fn asked(socket: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    loop {
        socket.read_buf(&mut request).await?;
        let text = String::from_utf8_lossy(&request);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        if let Some(Ok(json)) = body.map(serde_json::from_str::<Value>) {
            return Ok(json["stream"].as_str().unwrap().to_owned());
        }
    }
}

async fn misbehave(socket: &mut TcpStream, kind: &str, elsewhere: SocketAddr) -> io::Result<()> {
    let ok = "HTTP/1.1 200 OK\r\n";
    match kind {
        "closes" => Ok(()),
        "resets" => socket.set_zero_linger(),
        "silent" => {
            sleep(Duration::from_secs(60)).await;
            Ok(())
        }
        "nonsense" => socket.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await,
        "endless-headers" => endless(socket, ok, "a: b\r\n").await,
        "endless-body" => {
            endless(
                socket,
                &format!("{ok}Transfer-Encoding: chunked\r\n\r\n"),
                "1\r\n \r\n",
            )
            .await
        }
        "cut-off" => {
            socket
                .write_all(format!("{ok}Content-Length: 9\r\n\r\n0").as_bytes())
                .await
        }
        "redirect" => {
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 1\r\n\r\n0"
            );
            socket.write_all(answer.as_bytes()).await
        }
        "deep-json" => respond(socket, &"[".repeat(10_000)).await,
        "allows" => respond(socket, "0").await,
        "lies" => respond(socket, "{\"code\": 0, \"code\": 1}").await,
        other => panic!("{other}"),
    }
}

async fn send_huge_body(socket: &mut TcpStream, taken: &AtomicUsize) -> io::Result<()> {
    let length = 100 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let piece = [b' '; 16 << 10];
    for _ in 0..length / piece.len() {
        socket.write_all(&piece).await?;
        taken.fetch_add(piece.len(), Ordering::Relaxed);
    }
    Ok(())
}

async fn respond(socket: &mut TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(answer.as_bytes()).await
}

/// Sends a start, and a part of the answer ten times a second until the media node closes.
async fn endless(socket: &mut TcpStream, start: &str, part: &str) -> io::Result<()> {
    socket.write_all(start.as_bytes()).await?;
    loop {
        socket.write_all(part.as_bytes()).await?;
        sleep(Duration::from_millis(100)).await;
    }
}
