//! The viewer loop: from a stream to a viewer's socket. It is the hottest loop of the media node, and the same for RTMP,
//! HTTP-FLV and WebSocket-FLV.
//!
//! A segment is one write. There is no timer, no allocation and no lock for a write that the socket accepts immediately. A
//! viewer that reads nothing holds one segment and costs the other viewers nothing.
//!
//! Every viewer keeps the future of this loop, so the loop waits in few places, and what is rare is boxed.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use media_config::Limits;
use media_engine::{Batch, Cursor, CursorEvent, Registry, Stream};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::framing::{Framing, ViewerEvent, framed};
use super::socket::Socket;
use super::socket_memory::unsent_limit;
use super::viewer_end::ViewerEnd;
use crate::state::clients::{Client, StopReason};

/// Bytes of one read from a viewer: acknowledgements, pings, a command. More waits in the kernel.
const READ: usize = 1024;

/// Bytes that a viewer may send before they make a whole message.
const MAX_UNREAD: usize = 128 * 1024;

/// Attempts to write within the stall timeout, while the socket is not reported as writable.
const STALL_ATTEMPTS: u32 = 8;

/// Delivers a stream to one viewer.
pub(crate) struct Delivery<'a> {
    socket: &'a mut Socket,
    client: &'a Client,
    /// Time that the socket may accept no byte.
    stall_timeout: Duration,
    /// Time that the socket may take for a batch. A viewer that accepts a byte now and then would keep what it reads in memory.
    batch_timeout: Duration,
    /// Whether the viewer is to be disconnected at the next keyframe.
    draining: bool,
    /// Shows whether memory is full. A viewer may then be slow for a shorter time.
    registry: &'a Registry,
    /// What the kernel may hold unsent, in bytes, as far as it was limited here.
    unsent_limit: u32,
    /// The position that the viewer wants to reach. The maximum for one that plays to the end.
    until: i64,
}

/// What a viewer waits for.
enum Wake {
    Stop(StopReason),
    Input(Result<usize, ViewerEnd>),
    Stream,
}

/// Bytes that a socket did not accept yet.
struct Unsent<B> {
    bytes: B,
    /// The position that the viewer reaches with the last one.
    position: Option<i64>,
    /// Their number before the first was sent.
    length: usize,
}

impl<'a> Delivery<'a> {
    /// Returns the delivery to a viewer within these limits, up to a position of the stream: the maximum for one that plays to the end.
    pub(crate) fn new(
        socket: &'a mut Socket,
        client: &'a Client,
        limits: &Limits,
        registry: &'a Registry,
        until: i64,
    ) -> Self {
        Self {
            socket,
            client,
            stall_timeout: limits.stall_timeout(),
            batch_timeout: limits.batch_timeout(),
            draining: false,
            registry,
            unsent_limit: 0,
            until,
        }
    }
}

impl Delivery<'_> {
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
            if self.draining {
                return Box::pin(self.deliver_last_group(framing, cursor, input)).await;
            }
            // Each future here is cancel-safe: dropping it leaves nothing half done.
            let wake = tokio::select! {
                biased;
                reason = self.client.stopped() => Wake::Stop(reason),
                read = poll_fn(|context| poll_receive(self.socket, context, input)) => {
                    Wake::Input(read)
                }
                () = cursor.ready() => Wake::Stream,
            };
            step = match wake {
                Wake::Input(read) => {
                    let step = self.receive(framing, input, read).await;
                    // A viewer that sends without end takes turns with the worker's other viewers.
                    yield_now().await;
                    step
                }
                Wake::Stream => match self.send_next(framing, cursor) {
                    Ok(None) => Ok(()),
                    Ok(Some(unsent)) => Box::pin(self.send_rest(unsent)).await,
                    Err(end) => Err(end),
                },
                Wake::Stop(reason) => self.disconnect(reason),
            };
            // The cursor of a viewer that catches up is always ready. The worker's other viewers get their turn here.
            tokio::task::coop::consume_budget().await;
        }
        step.err().unwrap_or(ViewerEnd::Closed)
    }

    /// Sends the stream up to the next keyframe.
    async fn deliver_last_group<F: Framing>(
        &mut self,
        framing: &mut F,
        cursor: &mut Cursor,
        input: &mut BytesMut,
    ) -> ViewerEnd {
        let mut step = Ok(());
        while step.is_ok() {
            step = tokio::select! {
                biased;
                reason = self.client.stopped() => self.disconnect(reason),
                read = poll_fn(|context| poll_receive(self.socket, context, input)) => {
                    self.receive(framing, input, read).await
                }
                () = cursor.ready() => match self.send_next(framing, cursor) {
                    Ok(None) => Ok(()),
                    Ok(Some(unsent)) => self.send_rest(unsent).await,
                    Err(end) => Err(end),
                },
                // Without a publisher there is no next keyframe.
                () = publisher_ended(cursor.stream()) => {
                    Err(ViewerEnd::Disconnected(StopReason::Draining))
                }
            };
            tokio::task::coop::consume_budget().await;
        }
        step.err().unwrap_or(ViewerEnd::Closed)
    }

    /// Sends the next batch of the stream, if there is one. Returns what the socket did not accept.
    fn send_next<F: Framing>(
        &mut self,
        framing: &mut F,
        cursor: &mut Cursor,
    ) -> Result<Option<Unsent<impl Buf + use<F>>>, ViewerEnd> {
        if framing.is_overdue() {
            return Err(ViewerEnd::ProtocolError);
        }
        match cursor.try_next() {
            None => Ok(None),
            Some(CursorEvent::Ended) => Err(ViewerEnd::StreamEnded),
            Some(CursorEvent::Batch(batch)) => {
                // A stream without video has no keyframes and may end anywhere.
                let may_end = || batch.keyframe || cursor.stream().stats().video.is_none();
                if self.draining && may_end() {
                    return Err(ViewerEnd::Disconnected(StopReason::Draining));
                }
                if batch.renewed && self.client.is_browser() {
                    return Err(ViewerEnd::TimelineRenewed);
                }
                let position = batch.end();
                if position > self.until {
                    return Err(ViewerEnd::Completed);
                }
                if batch.lagged {
                    self.client.lagged();
                }
                let unsent = self.send_now(framed(framing, batch), Some(position))?;
                if unsent.is_some() {
                    cursor.fall_behind();
                }
                Ok(unsent)
            }
        }
    }

    /// Sends the first batch of the stream, and `header` before it in the same write.
    pub(crate) async fn send_first<F: Framing>(
        &mut self,
        framing: &mut F,
        header: &[u8],
        first: Batch,
    ) -> Result<(), ViewerEnd> {
        let position = first.end();
        self.send(header.chain(framed(framing, first)), Some(position))
            .await
    }

    /// Sends bytes. A timer exists only while the socket accepts none.
    async fn send(&mut self, bytes: impl Buf, position: Option<i64>) -> Result<(), ViewerEnd> {
        match self.send_now(bytes, position)? {
            None => Ok(()),
            Some(unsent) => Box::pin(self.send_rest(unsent)).await,
        }
    }

    /// Sends what the socket accepts now, and returns the rest.
    fn send_now<B: Buf>(
        &mut self,
        mut bytes: B,
        position: Option<i64>,
    ) -> Result<Option<Unsent<B>>, ViewerEnd> {
        let length = bytes.remaining();
        loop {
            match self.socket.try_send(&mut bytes) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Some(Unsent {
                        bytes,
                        position,
                        length,
                    }));
                }
                Err(_) => return Err(ViewerEnd::Closed),
            }
        }
        self.sent(length, position);
        Ok(None)
    }

    /// Sends the rest when the socket accepts it.
    async fn send_rest(&mut self, unsent: Unsent<impl Buf>) -> Result<(), ViewerEnd> {
        let Unsent {
            mut bytes,
            position,
            length,
        } = unsent;
        // There may be more viewers than when this one joined, so that each may hold less.
        let limit = unsent_limit(self.registry);
        if std::mem::replace(&mut self.unsent_limit, limit) != limit {
            self.socket.limit_unsent(limit);
        }
        let since = Instant::now();
        loop {
            let slowest = if self.registry.is_out_of_memory() {
                self.stall_timeout.min(self.batch_timeout)
            } else {
                self.batch_timeout
            };
            if since.elapsed() > slowest {
                return Err(ViewerEnd::Stalled);
            }
            self.wait_for_progress(&mut bytes).await?;
            match self.socket.try_send(&mut bytes) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(ViewerEnd::Closed),
            }
        }
        self.sent(length, position);
        Ok(())
    }

    fn sent(&self, length: usize, position: Option<i64>) {
        self.client.sent(length);
        if let Some(position) = position {
            self.client.reached(position);
        }
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
                // What stalled viewers hold is all that is left to give up.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.registry.is_out_of_memory() {
                        break;
                    }
                }
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

    /// Processes what was read from the socket.
    async fn receive<F: Framing>(
        &mut self,
        framing: &mut F,
        input: &mut BytesMut,
        read: Result<usize, ViewerEnd>,
    ) -> Result<(), ViewerEnd> {
        self.client.received(read?);
        self.process_input(framing, input).await
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
        while let Some(reply) = framing.reply() {
            self.send(reply, None).await?;
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
mod tests;
