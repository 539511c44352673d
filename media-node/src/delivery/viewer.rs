//! The viewer loop: from a stream to a viewer's socket. It is the hottest loop of the media node, and the same for RTMP,
//! HTTP-FLV and WebSocket-FLV.
//!
//! A segment is one write. There is no timer, no allocation and no lock for a write that the socket accepts immediately. A
//! viewer that reads nothing holds one segment and costs the other viewers nothing.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use media_engine::{Batch, Cursor, CursorEvent, Stream};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::socket::Socket;
use crate::state::clients::{Client, StopReason};
use crate::state::metrics::Metrics;

/// Bytes of one read from a viewer: acknowledgements, pings, a command. More waits in the kernel.
const READ: usize = 1024;

/// Bytes that a viewer may send before they make a whole message.
const MAX_UNREAD: usize = 128 * 1024;

/// Attempts to write within the stall timeout, while the socket is not reported as writable.
const STALL_ATTEMPTS: u32 = 8;

/// Stall timeouts that a batch may take at most. A viewer that accepts a byte now and then would keep what it reads in memory, and
/// the slowest network that carries any stream is far from this.
const SLOWEST_BATCH: u32 = 10;

/// A protocol's framing of a stream: bytes around each batch, and the messages of the viewer.
pub(crate) trait Framing {
    /// Reason that a viewer's message cannot be read.
    type Error: std::error::Error;

    /// Returns the bytes before a batch of this length.
    fn header(&mut self, length: usize) -> FrameHeader;

    /// Returns the bytes after each batch.
    fn trailer(&self) -> &'static [u8] {
        b""
    }

    /// Reads one message of the viewer; called until it returns `None`.
    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ViewerEvent>, Self::Error>;

    /// Returns bytes to send between two batches; called until it returns `None`.
    fn reply(&mut self) -> Option<Bytes>;
}

/// A message of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewerEvent {
    /// Does not affect the stream.
    Other,
    /// Pauses the stream.
    Pause,
    /// Ends the stream.
    Stop,
}

/// The few bytes before a batch.
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameHeader {
    bytes: [u8; 10],
    length: u8,
}

impl FrameHeader {
    /// Appends bytes; those that do not fit are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(next) = self.bytes.get_mut(usize::from(self.length)) {
                *next = *byte;
                self.length += 1;
            }
        }
    }
}

impl Deref for FrameHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Reason that delivery to a viewer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewerEnd {
    /// The stream ended.
    StreamEnded,
    /// The viewer paused the stream.
    Paused,
    /// The viewer ended the stream and may use the connection again.
    Stopped,
    /// The viewer closed the connection.
    Closed,
    /// The viewer accepted no byte for too long.
    Stalled,
    /// The media node disconnects the viewer.
    Disconnected(StopReason),
    /// The media node disconnects the viewer, which has received only a part of a batch. The viewer would read further
    /// bytes as the rest of it.
    DisconnectedMidMessage(StopReason),
    /// The stream's timestamps begin again, and the viewer's player cannot go back.
    TimelineRenewed,
    /// The viewer violated its protocol.
    ProtocolError,
}

impl ViewerEnd {
    /// Returns whether no more bytes may be sent on the connection.
    pub(crate) fn is_abrupt(self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Stalled | Self::DisconnectedMidMessage(_)
        )
    }
}

/// Logs and counts the end of a viewer's stream.
pub(crate) fn record_end(metrics: &Metrics, client: &Client, end: ViewerEnd) {
    let counters = client.counters();
    if end == ViewerEnd::Stalled {
        metrics.stalled.inc();
    }
    debug!(stream = %client.stream, ?end, sent = counters.sent, lags = counters.lags, "play ended");
}

/// Delivers a stream to one viewer.
pub(crate) struct Viewer<'a> {
    pub(crate) socket: &'a mut Socket,
    pub(crate) client: &'a Client,
    pub(crate) stream: &'a Stream,
    /// Time that the socket may accept no byte.
    pub(crate) stall_timeout: Duration,
    /// Whether the viewer is to be disconnected at the next keyframe.
    pub(crate) draining: bool,
}

impl Viewer<'_> {
    /// Sends the stream until it ends, or until one side ends the delivery.
    ///
    /// `input` holds bytes that were read from the socket and not yet processed.
    pub(crate) async fn deliver<F: Framing>(
        &mut self,
        framing: &mut F,
        cursor: &mut Cursor,
        input: &mut BytesMut,
    ) -> ViewerEnd {
        let mut step = self.process_input(framing, input).await;
        while step.is_ok() {
            // Each future here is cancel-safe: dropping it leaves nothing half done.
            step = tokio::select! {
                biased;
                reason = self.client.stopped() => self.disconnect(reason),
                read = poll_fn(|context| poll_receive(self.socket, context, input)) => match read {
                    Ok(read) => {
                        self.client.received(read);
                        self.process_input(framing, input).await
                    }
                    Err(end) => Err(end),
                },
                next = cursor.next() => match next {
                    CursorEvent::Batch(batch) => self.send_batch(framing, batch).await,
                    CursorEvent::Ended => Err(ViewerEnd::StreamEnded),
                },
                // Without a publisher there is no next keyframe.
                () = publisher_ended(self.stream), if self.draining => {
                    Err(ViewerEnd::Disconnected(StopReason::Draining))
                }
            };
            // The cursor of a viewer that catches up is always ready. The worker's other viewers get their turn here.
            tokio::task::coop::consume_budget().await;
        }
        step.err().unwrap_or(ViewerEnd::Closed)
    }

    /// Sends the next batch of the stream.
    pub(crate) async fn send_batch<F: Framing>(
        &mut self,
        framing: &mut F,
        batch: Batch,
    ) -> Result<(), ViewerEnd> {
        // A stream without video has no keyframes and may end anywhere.
        if self.draining && (batch.keyframe || self.stream.stats().video.is_none()) {
            return Err(ViewerEnd::Disconnected(StopReason::Draining));
        }
        if batch.renewed && self.client.is_browser() {
            return Err(ViewerEnd::TimelineRenewed);
        }
        if batch.lagged {
            self.client.lagged();
        }
        let header = framing.header(batch.remaining());
        self.send(&mut Buf::chain(
            Buf::chain(&*header, batch),
            framing.trailer(),
        ))
        .await
    }

    /// Sends bytes. A timer exists only while the socket accepts none.
    pub(crate) async fn send(&mut self, bytes: &mut impl Buf) -> Result<(), ViewerEnd> {
        let length = bytes.remaining();
        let mut blocked = None;
        loop {
            match self.socket.try_send(bytes) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = *blocked.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.stall_timeout * SLOWEST_BATCH {
                        return Err(ViewerEnd::Stalled);
                    }
                    self.wait_for_progress(bytes).await?;
                }
                Err(_) => return Err(ViewerEnd::Closed),
            }
        }
        self.client.sent(length);
        Ok(())
    }

    /// Waits, with a batch partly sent, until the socket accepts more.
    ///
    /// The kernel reports a socket as writable when half of what it holds unsent is gone, which takes a slow viewer more than
    /// the stall timeout. Attempts to write show much smaller steps, so a viewer that reads steadily is never a stalled one.
    async fn wait_for_progress(&mut self, bytes: &mut impl Buf) -> Result<(), ViewerEnd> {
        for _ in 0..STALL_ATTEMPTS {
            tokio::select! {
                biased;
                reason = self.client.stopped() => {
                    let disconnected = self.disconnect(reason);
                    return disconnected.map_err(|_| ViewerEnd::DisconnectedMidMessage(reason));
                }
                writable = self.socket.writable() => return writable.map_err(|_| ViewerEnd::Closed),
                () = sleep(self.stall_timeout / STALL_ATTEMPTS) => {}
            }
            match self.socket.attempt_send(bytes) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(ViewerEnd::Closed),
            }
        }
        Err(ViewerEnd::Stalled)
    }

    fn disconnect(&mut self, reason: StopReason) -> Result<(), ViewerEnd> {
        self.draining = true;
        match reason {
            StopReason::Draining => Ok(()),
            StopReason::Kicked | StopReason::Now => Err(ViewerEnd::Disconnected(reason)),
        }
    }

    async fn process_input<F: Framing>(
        &mut self,
        framing: &mut F,
        input: &mut BytesMut,
    ) -> Result<(), ViewerEnd> {
        let mut end = None;
        while end.is_none() {
            end = match framing.receive(input) {
                Ok(Some(ViewerEvent::Other)) => None,
                Ok(Some(ViewerEvent::Pause)) => Some(ViewerEnd::Paused),
                Ok(Some(ViewerEvent::Stop)) => Some(ViewerEnd::Stopped),
                Ok(None) => break,
                Err(error) => {
                    debug!(%error, "viewer violated its protocol");
                    Some(ViewerEnd::ProtocolError)
                }
            };
        }
        if input.is_empty() {
            // Viewers rarely send anything. An idle one keeps no buffer.
            *input = BytesMut::new();
        }
        while let Some(mut reply) = framing.reply() {
            self.send(&mut reply).await?;
        }
        end.map_or(Ok(()), Err)
    }
}

/// Waits until the stream has no publisher.
async fn publisher_ended(stream: &Stream) {
    let mut states = stream.watch();
    // The channel closes with the stream, which then has no publisher either.
    drop(states.wait_for(|state| state.publication.is_none()).await);
}

/// Reads some bytes. Only a viewer that sends something needs a buffer.
fn poll_receive(
    socket: &mut Socket,
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<Result<usize, ViewerEnd>> {
    if input.len() >= MAX_UNREAD {
        return Poll::Ready(Err(ViewerEnd::ProtocolError));
    }
    let mut buffer = [MaybeUninit::uninit(); READ];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    let read = ready!(Pin::new(socket).poll_read(context, &mut buffer));
    let bytes = buffer.filled();
    if read.is_err() || bytes.is_empty() {
        return Poll::Ready(Err(ViewerEnd::Closed));
    }
    input.extend_from_slice(bytes);
    Poll::Ready(Ok(bytes.len()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use media_engine::{EngineSettings, Registry};
    use media_wire::StreamKey;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::auth::Grant;
    use crate::state::clients::{ClientGuard, ClientKind, ClientRole, Clients, NewClient};

    #[tokio::test]
    async fn viewer_that_accepts_a_few_bytes_now_and_then_is_disconnected() {
        let (mut socket, mut reader, peer) = connection().await;
        let registry = Registry::new(EngineSettings::default());
        let client = client(peer);
        let mut viewer = Viewer {
            socket: &mut socket,
            client: &client,
            stream: &registry.open(&key()).unwrap(),
            stall_timeout: Duration::from_millis(100),
            draining: false,
        };
        let mut batch = Bytes::from(vec![0; 64 << 20]);
        let slow_reads = async {
            // At this rate the batch would take half a minute.
            let mut buffer = vec![0; 64 << 10];
            loop {
                drop(reader.read(&mut buffer).await);
                sleep(Duration::from_millis(30)).await;
            }
        };
        tokio::select! {
            sent = viewer.send(&mut batch) => assert_eq!(sent, Err(ViewerEnd::Stalled)),
            () = slow_reads => {}
        }
    }

    /// Returns a viewer's connection and its peer.
    async fn connection() -> (Socket, TcpStream, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = listener.local_addr().unwrap();
        let client = TcpStream::connect(peer).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        (Socket::Plain(socket), client, peer)
    }

    fn client(peer: SocketAddr) -> ClientGuard {
        Clients::new().enter(NewClient {
            id: 1,
            grant: Grant::default(),
            peer,
            kind: ClientKind::Ws,
            role: ClientRole::Viewer,
            stream: key(),
            agent: String::new(),
        })
    }

    fn key() -> StreamKey {
        StreamKey::new(None, "live", "a").unwrap()
    }

    #[tokio::test]
    async fn viewer_disconnected_mid_batch_ends_abruptly() {
        let (mut socket, _reads_nothing, peer) = connection().await;
        let client = client(peer);
        let registry = Registry::new(EngineSettings::default());
        let mut viewer = Viewer {
            socket: &mut socket,
            client: &client,
            stream: &registry.open(&key()).unwrap(),
            stall_timeout: Duration::from_secs(60),
            draining: false,
        };
        // More than the socket buffers hold.
        let mut batch = Bytes::from(vec![0; 64 << 20]);
        let (sent, ()) = tokio::join!(viewer.send(&mut batch), async {
            client.stop(StopReason::Kicked);
        });
        assert_eq!(
            sent,
            Err(ViewerEnd::DisconnectedMidMessage(StopReason::Kicked))
        );
        assert!(ViewerEnd::DisconnectedMidMessage(StopReason::Kicked).is_abrupt());
    }
}
