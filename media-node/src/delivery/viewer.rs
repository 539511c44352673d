//! From a stream to a viewer's socket: the hottest loop of the node, the same for RTMP, HTTP-FLV and WebSocket-FLV.
//!
//! A segment is one write. There is no timer, no allocation and no lock for a write that the socket takes at once; a
//! viewer that takes nothing holds one segment and costs the others nothing.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::ops::Deref;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use media_engine::{Batch, Cursor, CursorEvent, Stream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::state::clients::{Client, StopReason};

/// Slices of one `writev`; the system takes up to 1,024, and a segment of more messages is rare.
const MAX_SLICES: usize = 64;

/// What a viewer may send at once: acknowledgements, pings, a command. More waits in the kernel.
const READ: usize = 1024;

/// What a viewer may send that is not yet a whole message.
const MAX_UNREAD: usize = 128 * 1024;

/// What a protocol adds to the bytes of a stream, and how it hears the viewer.
pub(crate) trait Dialect {
    /// Why what the viewer said is not understood.
    type Error: std::error::Error;

    /// What stands before a batch of this length.
    fn prefix(&mut self, length: usize) -> Prefix;

    /// What stands behind each batch.
    fn suffix(&self) -> &'static [u8] {
        b""
    }

    /// Reads what the viewer sent; called until it is `None`.
    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Heard>, Self::Error>;

    /// What to send between batches; called until it is `None`.
    fn reply(&mut self) -> Option<Bytes>;
}

/// What a viewer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that matters to the stream.
    Nothing,
    /// It wants no more for now.
    Pause,
    /// It wants no more of this stream.
    Leave,
}

/// The few bytes that stand before a batch.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prefix {
    bytes: [u8; 10],
    length: u8,
}

impl Prefix {
    /// Adds bytes; more than fit are left out.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
                *place = *byte;
                self.length += 1;
            }
        }
    }
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Why a viewer gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The stream is over.
    StreamEnded,
    /// The viewer asked for a pause.
    Paused,
    /// The viewer asked for the end of the stream, not of the connection.
    Left,
    /// The viewer closed the connection.
    Gone,
    /// The viewer took no byte for too long.
    Stalled,
    /// The node lets it go.
    LetGo(StopReason),
    /// The node lets it go in the middle of something that it does not take: whatever were said now would be read as a
    /// part of that.
    CutOff(StopReason),
    /// The viewer sent what its protocol does not allow.
    Broken,
}

impl Ending {
    /// Nothing can be said on the connection any more.
    pub(crate) fn is_abrupt(self) -> bool {
        matches!(self, Self::Gone | Self::Stalled | Self::CutOff(_))
    }
}

/// A viewer's socket, and who it is.
pub(crate) struct Viewer<'a> {
    pub(crate) socket: &'a mut TcpStream,
    pub(crate) client: &'a Client,
    pub(crate) stream: &'a Stream,
    /// How long it may take no byte.
    pub(crate) stall: Duration,
    /// It is to leave at the next keyframe.
    pub(crate) leaving: bool,
}

impl Viewer<'_> {
    /// Sends the stream until one of the two has enough.
    ///
    /// `input` holds what was read from the socket and not yet understood.
    pub(crate) async fn watch<D: Dialect>(
        &mut self,
        dialect: &mut D,
        cursor: &mut Cursor,
        input: &mut BytesMut,
    ) -> Ending {
        let mut step = self.hear(dialect, input).await;
        while step.is_ok() {
            // Everything that is waited for here may be dropped at any time: nothing is half done.
            step = tokio::select! {
                biased;
                reason = self.client.stopped() => self.ask_to_leave(reason),
                ready = poll_fn(|context| self.socket.poll_read_ready(context)) => match ready {
                    Ok(()) => self.read(dialect, input).await,
                    Err(_) => Err(Ending::Gone),
                },
                next = cursor.next() => match next {
                    CursorEvent::Batch(batch) => self.show(dialect, batch).await,
                    CursorEvent::Ended => Err(Ending::StreamEnded),
                },
                // No keyframe comes.
                () = without_publisher(self.stream), if self.leaving => {
                    Err(Ending::LetGo(StopReason::Draining))
                }
            };
            // A viewer that catches up finds its cursor always ready: the others on this core come in between.
            tokio::task::coop::consume_budget().await;
        }
        step.err().unwrap_or(Ending::Gone)
    }

    /// Sends the next part of the stream.
    pub(crate) async fn show<D: Dialect>(
        &mut self,
        dialect: &mut D,
        batch: Batch,
    ) -> Result<(), Ending> {
        // Without pictures, any place is as good.
        if self.leaving && (batch.keyframe || self.stream.stats().video.is_none()) {
            return Err(Ending::LetGo(StopReason::Draining));
        }
        if batch.lagged {
            self.client.skipped();
        }
        let prefix = dialect.prefix(batch.remaining());
        self.send(&mut Buf::chain(
            Buf::chain(&*prefix, batch),
            dialect.suffix(),
        ))
        .await
    }

    /// Sends bytes. A timer exists only while the socket takes none.
    pub(crate) async fn send(&mut self, bytes: &mut impl Buf) -> Result<(), Ending> {
        let length = bytes.remaining();
        while bytes.has_remaining() {
            match write_some(self.socket, bytes) {
                Ok(0) => return Err(Ending::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room().await?,
                Err(_) => return Err(Ending::Gone),
            }
        }
        self.client.sent(length);
        Ok(())
    }

    /// Waits in the middle of what is sent.
    async fn wait_for_room(&mut self) -> Result<(), Ending> {
        tokio::select! {
            biased;
            reason = self.client.stopped() => {
                self.ask_to_leave(reason).map_err(|_| Ending::CutOff(reason))
            }
            room = timeout(self.stall, self.socket.writable()) => match room {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Ending::Gone),
                Err(_) => Err(Ending::Stalled),
            },
        }
    }

    fn ask_to_leave(&mut self, reason: StopReason) -> Result<(), Ending> {
        self.leaving = true;
        match reason {
            StopReason::Draining => Ok(()),
            StopReason::Kicked | StopReason::Now => Err(Ending::LetGo(reason)),
        }
    }

    async fn read<D: Dialect>(
        &mut self,
        dialect: &mut D,
        input: &mut BytesMut,
    ) -> Result<(), Ending> {
        let read = read_some(self.socket, input)?;
        self.client.received(read);
        self.hear(dialect, input).await
    }

    async fn hear<D: Dialect>(
        &mut self,
        dialect: &mut D,
        input: &mut BytesMut,
    ) -> Result<(), Ending> {
        let mut ending = None;
        while ending.is_none() {
            ending = match dialect.receive(input) {
                Ok(Some(Heard::Nothing)) => None,
                Ok(Some(Heard::Pause)) => Some(Ending::Paused),
                Ok(Some(Heard::Leave)) => Some(Ending::Left),
                Ok(None) => break,
                Err(error) => {
                    debug!(%error, "viewer not understood");
                    Some(Ending::Broken)
                }
            };
        }
        if input.is_empty() {
            // A viewer rarely speaks: it keeps no buffer.
            *input = BytesMut::new();
        }
        while let Some(mut reply) = dialect.reply() {
            self.send(&mut reply).await?;
        }
        ending.map_or(Ok(()), Err)
    }
}

async fn without_publisher(stream: &Stream) {
    let mut states = stream.watch();
    // A stream whose sender is gone has no publisher, either.
    drop(states.wait_for(|state| state.publication.is_none()).await);
}

/// Not across an await: the slices are 1 KiB of stack.
fn write_some(socket: &TcpStream, bytes: &mut impl Buf) -> std::io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = bytes.chunks_vectored(&mut slices);
    let written = socket.try_write_vectored(slices.get(..count).unwrap_or_default())?;
    bytes.advance(written);
    Ok(written)
}

fn read_some(socket: &TcpStream, input: &mut BytesMut) -> Result<usize, Ending> {
    if input.len() >= MAX_UNREAD {
        return Err(Ending::Broken);
    }
    input.reserve(READ);
    match socket.try_read_buf(input) {
        Ok(0) => Err(Ending::Gone),
        Ok(read) => Ok(read),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(Ending::Gone),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use media_engine::{EngineSettings, Registry};
    use media_wire::StreamKey;
    use tokio::net::TcpListener;

    use super::*;
    use crate::state::clients::{Clients, Kind, NewClient, Role};

    #[tokio::test]
    async fn who_is_closed_in_the_middle_of_a_batch_is_told_nothing_more() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = listener.local_addr().unwrap();
        let _reads_nothing = TcpStream::connect(peer).await.unwrap();
        let (mut socket, peer) = listener.accept().await.unwrap();
        let key = StreamKey::new(None, "live", "a").unwrap();
        let client = Clients::new().enter(NewClient {
            peer,
            kind: Kind::Ws,
            role: Role::Viewer,
            stream: key.clone(),
            agent: String::new(),
        });
        let registry = Registry::new(EngineSettings::default());
        let mut viewer = Viewer {
            socket: &mut socket,
            client: &client,
            stream: &registry.open(&key).unwrap(),
            stall: Duration::from_secs(60),
            leaving: false,
        };
        // More than any socket's buffers hold.
        let mut batch = Bytes::from(vec![0; 64 << 20]);
        let (sent, ()) = tokio::join!(viewer.send(&mut batch), async {
            client.stop(StopReason::Kicked);
        });
        assert_eq!(sent, Err(Ending::CutOff(StopReason::Kicked)));
        assert!(Ending::CutOff(StopReason::Kicked).is_abrupt());
    }
}
