//! One viewer, by HTTP-FLV, HTTPS-FLV, WebSocket-FLV or RTMP, as its URL says. It keeps nothing of what it receives.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, BytesMut};
use media_wire::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::check::StreamCheck;
use crate::counters::ViewerCounters;
use crate::flv::FlvReader;
use crate::framing::BodyReader;
use crate::rtmp::RtmpReader;
use crate::tls::TlsClient;

/// Bytes of one read. The viewers of a thread share the buffer.
const READ: usize = 256 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    static TLS: Result<TlsClient> = TlsClient::new();
}

/// Watches until the task is aborted. Any other end is an error.
pub(crate) async fn watch(url: &str, counters: &ViewerCounters) -> Result<()> {
    match url.split_once("://") {
        Some(("rtmp", _)) => watch_rtmp(url, counters).await,
        Some(("http", rest)) => watch_flv(connect(rest).await?, rest, false, counters).await,
        Some(("ws", rest)) => watch_flv(connect(rest).await?, rest, true, counters).await,
        Some(("https", rest)) => {
            let tls =
                TLS.with(|tls| tls.as_ref().cloned().map_err(|error| anyhow!("{error:#}")))?;
            let socket = tls.connect(connect(rest).await?).await?;
            watch_flv(socket, rest, false, counters).await
        }
        _ => bail!("{url}: expected rtmp://, http://, https:// or ws://"),
    }
}

/// Connects to the host of an address, HOST/PATH.
async fn connect(address: &str) -> Result<TcpStream> {
    let (host, _) = address.split_once('/').context("a path")?;
    TcpStream::connect(host).await.context("connect")
}

/// Viewers that ask for a stream and read nothing, until they are dropped.
#[derive(Debug)]
pub(crate) struct Idle {
    _sockets: Vec<std::net::TcpStream>,
}

impl Idle {
    /// Connects a viewer to each URL of HTTP-FLV.
    pub(crate) fn connect(urls: impl Iterator<Item = String>) -> Result<Self> {
        let mut sockets = Vec::new();
        for url in urls {
            let address = url.strip_prefix("http://").context("a URL of HTTP-FLV")?;
            let (host, path) = address.split_once('/').context("a path")?;
            let mut socket = std::net::TcpStream::connect(host)?;
            let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            std::io::Write::write_all(&mut socket, request.as_bytes())?;
            sockets.push(socket);
        }
        Ok(Self { _sockets: sockets })
    }
}

async fn watch_flv(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    address: &str,
    websocket: bool,
    counters: &ViewerCounters,
) -> Result<()> {
    let (host, path) = address.split_once('/').context("a path")?;
    let upgrade = if websocket { UPGRADE } else { "" };
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n");
    socket.write_all(request.as_bytes()).await?;
    let (mut framing, rest) = response(&mut socket, websocket).await?;
    counters.connected();
    let (mut reader, mut check) = (FlvReader::default(), StreamCheck::default());
    let mut take = |bytes: &[u8]| {
        let read = framing.read(bytes, |body| {
            reader.read(body, &mut check, |sent| counters.frame(sent))
        });
        counters.checked(&mut check);
        read.map_err(|fault| anyhow!(fault))
    };
    take(&rest)?;
    read_forever(&mut socket, take).await
}

/// Reads the header of a response. Returns the framing of its body, and what has come of it already.
async fn response(
    socket: &mut (impl AsyncRead + Unpin),
    websocket: bool,
) -> Result<(BodyReader, Vec<u8>)> {
    let mut received = Vec::new();
    let end = loop {
        ensure!(received.len() < 16 << 10, "the response has no end");
        let read = socket.read_buf(&mut received).await.context("read")?;
        ensure!(read > 0, "the server closed the connection");
        let mut windows = received.windows(4);
        if let Some(end) = windows.position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let body = received.split_off(end + 4);
    let header = String::from_utf8_lossy(&received).to_ascii_lowercase();
    let status = header.split(' ').nth(1).unwrap_or_default();
    let expected = if websocket { "101" } else { "200" };
    ensure!(status == expected, "HTTP {status}");
    let framing = if websocket {
        BodyReader::WebSocket(0, Vec::new())
    } else if header.contains("transfer-encoding: chunked") {
        BodyReader::Chunked(0, Vec::new())
    } else {
        BodyReader::Plain
    };
    Ok((framing, body))
}

async fn watch_rtmp(url: &str, counters: &ViewerCounters) -> Result<()> {
    let url = RtmpUrl::parse(url).context("the URL")?;
    let mut socket = connect(&format!("{}:{}/", url.host, url.port)).await?;
    let (mut reader, mut check) = (RtmpReader::default(), StreamCheck::default());
    let mut take = |bytes: &[u8]| {
        let read = reader.read(bytes, &mut check, |sent| counters.frame(sent));
        counters.checked(&mut check);
        read.map_err(|fault| anyhow!(fault))
    };
    play(url, &mut socket, &mut take).await?;
    counters.connected();
    read_forever(&mut socket, take).await
}

/// Asks for a stream until the server agrees. Passes what it sends to `take` as well.
async fn play(
    url: RtmpUrl,
    socket: &mut TcpStream,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut connection = ClientConnection::play(url, ClientSettings::default());
    let mut input = BytesMut::new();
    loop {
        while let Some(event) = connection.receive(&mut input)? {
            match event {
                ClientEvent::Ready => return Ok(()),
                ClientEvent::Status(status) if status.is_error() => bail!("{}", status.code),
                ClientEvent::Status(_) | ClientEvent::Media(_) => {}
                ClientEvent::Ended => bail!("the stream ended"),
            }
        }
        while let Some(mut output) = connection.output() {
            while output.has_remaining() {
                socket.write_buf(&mut output).await.context("write")?;
            }
        }
        let before = input.len();
        let read = socket.read_buf(&mut input).await.context("read")?;
        ensure!(read > 0, "the server closed the connection");
        take(input.get(before..).unwrap_or_default())?;
    }
}

/// Reads until the server closes the connection, or until the task is aborted.
async fn read_forever(
    socket: &mut (impl AsyncRead + Unpin),
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    loop {
        poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
                let filled = buffer.filled();
                Poll::Ready(if filled.is_empty() {
                    Err(anyhow!("the server closed the connection"))
                } else {
                    take(filled)
                })
            })
        })
        .await?;
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
