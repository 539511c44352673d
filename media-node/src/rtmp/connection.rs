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
use tokio::time::timeout;

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
    #[error("other connections without a stream came")]
    Evicted,
}

/// Returns the label of the limit that a client has exceeded, if the error is that.
pub(super) fn exceeded_limit(error: &RtmpError) -> Option<&'static str> {
    Some(match error {
        RtmpError::Chunk(ChunkError::TooLong { .. }) => "message",
        RtmpError::Chunk(ChunkError::TooMuchPartial(_)) => "incomplete_messages",
        RtmpError::Chunk(ChunkError::TooManyStreams) => "chunk_streams",
        RtmpError::Command(CommandError::TooLong(_)) => "command",
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
            write_timeout: limits.stall_timeout(),
        }
    }

    /// Returns the next event, and sends pending answers before it waits for more input.
    pub(super) async fn event(&mut self) -> Result<ServerEvent, ConnectionLost> {
        loop {
            let event = self.protocol.receive(&mut self.input)?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.input.reserve(READ);
            match self.socket.read_buf(&mut self.input).await {
                Ok(0) => return Err(ConnectionLost::Closed),
                Ok(_) => {}
                Err(error) => return Err(ConnectionLost::Socket(error)),
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
