//! An RTMP connection: a socket and the state of the protocol on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use media_config::Limits;
use media_wire::rtmp::chunk_reader::ChunkError;
use media_wire::rtmp::server::{ServerConnection, ServerEvent, ServerSettings};
use media_wire::rtmp::{CommandError, RtmpError};
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::message_timeout::MessageTimeout;
use crate::delivery::socket::Socket;

/// Bytes of one read while a connection carries only commands.
const READ: usize = 4 * 1024;

/// An RTMP connection.
pub(super) struct RtmpConnection {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    pub(super) protocol: Box<ServerConnection>,
    /// Bytes that were read and not yet processed.
    pub(super) input: BytesMut,
    /// `flashVer` of the client.
    pub(super) agent: String,
    /// `pageUrl` of the client.
    pub(super) page_url: String,
    /// Time limit of incomplete messages, except those of a publisher.
    pub(super) message_timeout: MessageTimeout,
    write_timeout: Duration,
}

/// Reason that a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionLost {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    #[error("the peer violated the protocol")]
    Protocol(#[from] RtmpError),
    #[error("the peer took too long")]
    Timeout,
    #[error("closed to make room for newer connections without a stream")]
    Evicted,
}

/// Returns the label of the limit that a client has exceeded, if the error is that.
pub(super) fn exceeded_limit(error: &RtmpError) -> Option<&'static str> {
    Some(match error {
        RtmpError::Chunk(ChunkError::TooLong { .. }) => "message",
        RtmpError::Chunk(ChunkError::TooMuchPartial(_)) => "incomplete_messages",
        RtmpError::Chunk(ChunkError::TooManyStreams) => "chunk_streams",
        RtmpError::Chunk(ChunkError::ChunkSize(_)) => "chunk_size",
        RtmpError::Command(CommandError::TooLong(_)) => "command",
        RtmpError::Aggregate(_) => "aggregate_parts",
        RtmpError::Unsent(_) => "responses",
        _ => return None,
    })
}

/// Returns the text of an error for the client.
pub(super) fn reason(error: &RtmpError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// What a connection does after a publish or play has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterStream {
    /// It may publish or play again.
    Continue,
    /// It is closed.
    Close,
}

impl RtmpConnection {
    pub(super) fn new(socket: Socket, peer: SocketAddr, limits: &Limits) -> Self {
        let settings = ServerSettings {
            max_message_bytes: limits.max_message_bytes(),
            max_command_bytes: limits.max_command_bytes(),
            ..ServerSettings::default()
        };
        Self {
            socket,
            peer,
            protocol: Box::new(ServerConnection::new(settings)),
            input: BytesMut::new(),
            agent: String::new(),
            page_url: String::new(),
            message_timeout: MessageTimeout::new(limits.handshake_timeout()),
            write_timeout: limits.stall_timeout(),
        }
    }

    /// Returns the next event, and sends pending answers before it waits for more input. An incomplete message has a time limit.
    pub(super) async fn event(&mut self) -> Result<ServerEvent, ConnectionLost> {
        loop {
            let event = self.protocol.receive(&mut self.input)?;
            self.flush().await?;
            self.message_timeout.observe(self.protocol.reserved());
            match event {
                Some(ServerEvent::Skipped) => {
                    yield_now().await;
                    continue;
                }
                Some(event) => return Ok(event),
                None => {}
            }
            self.input.reserve(READ);
            tokio::select! {
                biased;
                () = self.message_timeout.overdue() => return Err(ConnectionLost::Timeout),
                read = self.socket.read_buf(&mut self.input) => match read {
                    Ok(0) => return Err(ConnectionLost::Closed),
                    // A client can send commands without end. The worker's viewers get their turn in between.
                    Ok(READ..) => yield_now().await,
                    Ok(_) => {}
                    Err(error) => return Err(ConnectionLost::Socket(error)),
                },
            }
        }
    }

    /// Sends pending answers.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionLost> {
        while let Some(bytes) = self.protocol.output() {
            match timeout(self.write_timeout, self.socket.send(&bytes)).await {
                Ok(written) => written.map_err(ConnectionLost::Socket)?,
                Err(_) => return Err(ConnectionLost::Timeout),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;

    /// Returns a connection whose client has sent these bytes behind its handshake.
    async fn connection(sent: &[u8]) -> (RtmpConnection, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (mut client, (server, peer)) = (client.unwrap(), accepted.unwrap());
        let handshake = [&[3][..], &[0; 2 * 1536]].concat();
        client
            .write_all(&[&handshake, sent].concat())
            .await
            .unwrap();
        let socket = Socket::Plain(server.into());
        (
            RtmpConnection::new(socket, peer, &Limits::default()),
            client,
        )
    }

    /// A message of an unknown type and its bytes.
    const MESSAGE: [u8; 16] = [5, 0, 0, 0, 0, 0, 4, 99, 0, 0, 0, 0, 1, 2, 3, 4];

    #[tokio::test]
    async fn client_that_sends_without_end_takes_turns_with_other_tasks() {
        const READS: usize = 12;
        let sent = MESSAGE.repeat(READS * READ / MESSAGE.len());
        let (mut connection, mut client) = connection(&sent).await;
        client.shutdown().await.unwrap();
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let lost = connection.event().await.unwrap_err();
        assert!(matches!(lost, ConnectionLost::Closed), "{lost}");
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns >= READS / 2, "{turns}");
        other.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_message_has_a_time_limit() {
        let (mut connection, _client) = connection(&MESSAGE[..14]).await;
        let begun = Instant::now();
        let lost = connection.event().await.unwrap_err();
        assert!(matches!(lost, ConnectionLost::Timeout), "{lost}");
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
