//! One RTMP connection: handshake and commands until it publishes or plays, that to its end, and then the next one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::{ServerConnection, ServerEvent, ServerSettings};
use media_wire::{InvalidKey, StreamKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{Instrument, debug, debug_span};

use crate::delivery::socket;
use crate::server::admission::Permit;
use crate::server::context::Shared;

/// What is read at once while a connection only has commands.
const READ: usize = 4 * 1024;

/// How long a connection over the limit has to hear so: handshake and `connect` take two round trips.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    worker: usize,
    permit: Permit,
) {
    let span = debug_span!("rtmp", %peer);
    let served = async {
        let unanswered = shared.config.limits.stall_timeout();
        match socket::adopt(stream, unanswered) {
            Ok(socket) => Session::new(socket, peer, shared, worker).run().await,
            Err(error) => debug!(%error, "connection lost"),
        }
    };
    served.instrument(span).await;
    drop(permit);
}

/// Tells a connection over the limit that the node is full.
pub(crate) async fn refuse(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    permit: Permit,
) {
    let refused = async {
        let socket = socket::adopt(stream, REFUSAL_TIMEOUT).map_err(Lost::Socket)?;
        let mut session = Session::new(socket, peer, shared, 0);
        while !matches!(session.event().await?, ServerEvent::Connected { .. }) {}
        session
            .connection
            .reject_connect("this node is full, try another or later");
        session.flush().await?;
        socket::farewell(&mut session.socket).await;
        Ok::<_, Lost>(())
    };
    drop(timeout(REFUSAL_TIMEOUT, refused).await);
    drop(permit);
}

pub(super) struct Session {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) worker: usize,
    pub(super) connection: Box<ServerConnection>,
    pub(super) input: BytesMut,
    /// What the client calls itself.
    pub(super) agent: String,
}

/// Why a connection is given up without a word.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    #[error("the peer broke the protocol")]
    Protocol(#[from] RtmpError),
    #[error("the peer took too long")]
    Slow,
}

/// What a client wants.
pub(super) enum Request {
    Publish(Result<StreamKey, InvalidKey>),
    Play(Result<StreamKey, InvalidKey>),
}

/// What comes after a request was served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection may publish or play again.
    Next,
    /// It is closed.
    Close,
}

impl Session {
    fn new(socket: TcpStream, peer: SocketAddr, shared: Arc<Shared>, worker: usize) -> Self {
        let settings = ServerSettings {
            max_message_bytes: shared.config.limits.max_message_bytes(),
            ..ServerSettings::default()
        };
        Self {
            socket,
            peer,
            worker,
            connection: Box::new(ServerConnection::new(settings)),
            input: BytesMut::new(),
            agent: String::new(),
            shared,
        }
    }

    async fn run(mut self) {
        match self.requests().await {
            Ok(()) => socket::farewell(&mut self.socket).await,
            Err(error) => {
                let reason = match error {
                    Lost::Slow => "slow",
                    Lost::Protocol(_) => "protocol",
                    Lost::Closed | Lost::Socket(_) => return,
                };
                self.shared
                    .metrics
                    .refused
                    .with_label_values(&[reason])
                    .inc();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                debug!(%error, cause, "connection given up");
            }
        }
    }

    async fn requests(&mut self) -> Result<(), Lost> {
        let mut wait = self.shared.config.limits.handshake_timeout();
        loop {
            let request = timeout(wait, Box::pin(self.request()))
                .await
                .map_err(|_| Lost::Slow)??;
            let then = match request {
                Request::Publish(key) => Box::pin(self.publish(key)).await?,
                Request::Play(key) => self.play(key).await?,
            };
            if then == Then::Close {
                return Ok(());
            }
            // An encoder that ends one stream begins the next at once, or is silent like one that is gone.
            wait = self.shared.config.stream.publish_idle_timeout();
        }
    }

    /// The next thing that the client wants to publish or play.
    async fn request(&mut self) -> Result<Request, Lost> {
        loop {
            let event = self.event().await?;
            let vhosts = &self.shared.config.vhosts;
            match event {
                ServerEvent::Connected { agent, .. } => {
                    self.agent = agent;
                    self.connection.accept_connect();
                }
                ServerEvent::Publish {
                    tc_url,
                    app,
                    stream,
                } => {
                    return Ok(Request::Publish(StreamKey::from_rtmp(
                        &tc_url, &app, &stream, vhosts,
                    )));
                }
                ServerEvent::Play {
                    tc_url,
                    app,
                    stream,
                    ..
                } => {
                    return Ok(Request::Play(StreamKey::from_rtmp(
                        &tc_url, &app, &stream, vhosts,
                    )));
                }
                _ => {}
            }
        }
    }

    /// The next event; meanwhile answers are sent.
    pub(super) async fn event(&mut self) -> Result<ServerEvent, Lost> {
        loop {
            let event = self.connection.receive(&mut self.input)?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.input.reserve(READ);
            match self.socket.read_buf(&mut self.input).await {
                Ok(0) => return Err(Lost::Closed),
                Ok(_) => {}
                Err(error) => return Err(Lost::Socket(error)),
            }
        }
    }

    /// Sends what the connection has to say.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        let limit = self.shared.config.limits.stall_timeout();
        while let Some(bytes) = self.connection.output() {
            match timeout(limit, self.socket.write_all(&bytes)).await {
                Ok(written) => written.map_err(Lost::Socket)?,
                Err(_) => return Err(Lost::Slow),
            }
        }
        Ok(())
    }
}
