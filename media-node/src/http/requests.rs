//! The requests of one connection: understood, answered, until one of them asks for a stream.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use media_wire::StreamKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use super::body::Body;
use super::headers::{self, Head, HeadError, MAX_HEAD, Method, Opening, Status};
use super::session::{Session, Then};
use super::{listing, player, websocket};
use crate::delivery::play::{self, NotPlayable, Wish};
use crate::server::context::Phase;
use crate::state::clients::Kind;

/// How long a connection without a stream may take no byte of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

impl Session {
    /// Answers requests until the connection ends or becomes a stream.
    pub(super) async fn requests(&mut self) -> Then {
        let mut input = BytesMut::with_capacity(1024);
        for count in 0_u64.. {
            let head = match self.next_head(&mut input, count == 0).await {
                Ok(Some(head)) => head,
                Ok(None) => return Then::Close,
                Err(refusal) => {
                    self.refuse(refusal).await;
                    return Then::Close;
                }
            };
            match self.respond(head, &mut input).await {
                Ok(None) => {}
                Ok(Some(then)) => return then,
                Err(_) => return Then::Close,
            }
        }
        Then::Close
    }

    /// The next request's head; `None` when there is none.
    async fn next_head(
        &mut self,
        input: &mut BytesMut,
        first: bool,
    ) -> Result<Option<Head>, Refusal> {
        let limit = self.shared.config.limits.handshake_timeout();
        let head = async {
            loop {
                if let Some((head, length)) = headers::parse(input).map_err(Refusal::Head)? {
                    input.advance(length);
                    return Ok(Some(head));
                }
                input.reserve(MAX_HEAD / 8);
                match self.socket.read_buf(input).await {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => {}
                }
            }
        };
        let leaving = async {
            let mut phases = self.shared.phase_changes();
            drop(phases.wait_for(|phase| *phase == Phase::Closing).await);
        };
        tokio::select! {
            head = timeout(limit, head) => match head {
                Ok(head) => head,
                Err(_) if input.is_empty() => Ok(None),
                Err(_) => Err(Refusal::Slow),
            },
            // A browser keeps connections open without need; they would hold up a node that leaves.
            () = leaving, if !first => Ok(None),
        }
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let status = match refusal {
            Refusal::Head(error) => error.status(),
            Refusal::Slow => Status::REQUEST_TIMEOUT,
        };
        self.shared
            .metrics
            .refused
            .with_label_values(&["request"])
            .inc();
        debug!(%refusal, "request refused");
        drop(self.tell(status, &refusal.to_string(), CLOSING).await);
    }

    async fn respond(&mut self, head: Head, input: &mut BytesMut) -> io::Result<Option<Then>> {
        let manner = Manner {
            keep_alive: head.keep_alive && !head.has_body && self.shared.phase() != Phase::Closing,
            without_body: head.method == Method::Head,
        };
        let path = head.target.split('?').next().unwrap_or_default();
        if head.method == Method::Options {
            return self.preflight(&head, manner).await;
        }
        if head.method == Method::Other {
            let fields = [("Allow", METHODS), ("Content-Type", TEXT)];
            let line = b"only GET, HEAD and OPTIONS are understood\n";
            return self
                .answer(Status::METHOD_NOT_ALLOWED, &fields, line, manner)
                .await;
        }
        if head.has_body {
            return self
                .tell(Status::BAD_REQUEST, "a request here has no body", manner)
                .await;
        }
        if path.ends_with(".flv") {
            return self.open_stream(head, input, manner).await;
        }
        if path == "/streams.json" {
            let listing = serde_json::to_vec(&listing::listing(&self.shared).await)?;
            return self
                .answer(
                    Status::OK,
                    &[("Content-Type", "application/json")],
                    &listing,
                    manner,
                )
                .await;
        }
        match player::respond(path) {
            Some((media, body)) => {
                self.answer(Status::OK, &[("Content-Type", media)], body, manner)
                    .await
            }
            None => {
                self.tell(
                    Status::NOT_FOUND,
                    "nothing here; streams are at /APP/STREAM.flv",
                    manner,
                )
                .await
            }
        }
    }

    /// A browser asks whether a page of another site may do this: any may.
    async fn preflight(&mut self, head: &Head, manner: Manner) -> io::Result<Option<Then>> {
        let mut fields = vec![
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", "*"),
            ("Access-Control-Max-Age", "86400"),
        ];
        if head.asks_private_network {
            fields.push(("Access-Control-Allow-Private-Network", "true"));
        }
        self.answer(Status::NO_CONTENT, &fields, b"", manner).await
    }

    async fn open_stream(
        &mut self,
        head: Head,
        input: &mut BytesMut,
        manner: Manner,
    ) -> io::Result<Option<Then>> {
        let vhosts = &self.shared.config.vhosts;
        let key = match StreamKey::from_http(head.host.as_deref(), &head.target, vhosts) {
            Ok(key) => key,
            Err(error) => {
                return self
                    .tell(Status::BAD_REQUEST, &error.to_string(), manner)
                    .await;
            }
        };
        let Ok(accept) = head.websocket.as_ref().map(accept).transpose() else {
            let fields = [("Sec-WebSocket-Version", "13"), ("Content-Type", TEXT)];
            let line = b"not an opening of WebSocket version 13\n";
            return self
                .answer(Status::UPGRADE_REQUIRED, &fields, line, manner)
                .await;
        };
        let wish = Wish {
            key,
            kind: if accept.is_some() {
                Kind::Ws
            } else {
                Kind::Flv
            },
            peer: self.peer,
            agent: head.agent,
            worker: self.worker,
        };
        let watching = match play::open(&self.shared, wish).await {
            Ok(watching) => watching,
            Err(error) => {
                let status = match error {
                    NotPlayable::NotFound => Status::NOT_FOUND,
                    NotPlayable::Full => Status::UNAVAILABLE,
                    NotPlayable::Name(_) => Status::BAD_REQUEST,
                };
                return self.tell(status, &error.to_string(), manner).await;
            }
        };
        let body = match head.knows_chunks {
            true => Body::Chunked,
            false => Body::UntilClosed,
        };
        if manner.without_body {
            self.write(headers::stream(body).as_bytes()).await?;
            return Ok(Some(Then::Close));
        }
        Ok(Some(match accept {
            None => Then::Flv(watching, body),
            Some(accept) => {
                self.write(headers::switch_to_websocket(&accept).as_bytes())
                    .await?;
                Then::WebSocket(watching, input.split())
            }
        }))
    }

    /// Answers with one line; `None` when another request may come.
    async fn tell(
        &mut self,
        status: Status,
        line: &str,
        manner: Manner,
    ) -> io::Result<Option<Then>> {
        let line = format!("{line}\n");
        self.answer(status, &[("Content-Type", TEXT)], line.as_bytes(), manner)
            .await
    }

    async fn answer(
        &mut self,
        status: Status,
        fields: &[(&str, &str)],
        body: &[u8],
        manner: Manner,
    ) -> io::Result<Option<Then>> {
        let head = headers::answer(status, fields, body.len(), manner.keep_alive);
        let body = if manner.without_body { &[][..] } else { body };
        self.write(&[head.as_bytes(), body].concat()).await?;
        Ok(if manner.keep_alive {
            None
        } else {
            Some(Then::Close)
        })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(ANSWER_TIMEOUT, self.socket.write_all(bytes)).await?
    }
}

/// The answer to the opening of a WebSocket.
fn accept(opening: &Opening) -> Result<String, ()> {
    let version = opening.version == "13";
    let accept = websocket::accept(&opening.key).filter(|_| version);
    accept.ok_or(())
}

/// Why a request gets no answer of its own.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Head(HeadError),
    #[error("the request took too long")]
    Slow,
}

/// How an answer is written.
#[derive(Clone, Copy)]
struct Manner {
    keep_alive: bool,
    without_body: bool,
}

const CLOSING: Manner = Manner {
    keep_alive: false,
    without_body: false,
};

const METHODS: &str = "GET, HEAD, OPTIONS";
