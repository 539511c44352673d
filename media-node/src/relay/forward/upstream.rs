//! One publication forwarded to one origin: a request that lasts, and questions beside it whether the origin still has
//! the stream. An origin that hangs takes bytes for a long time before its socket is full; it answers no question.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use media_config::DuplicatePublish;
use media_engine::{Format, Start};
use media_wire::relay::Epoch;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::super::Refusal;
use super::super::body::{Outflow, Until};
use super::super::client::{ClientError, Connection, json};
use super::super::protocol::{Conflict, PUSH, Parameters, Reason};
use super::Forward;
use crate::state::clients::{ClientGuard, ClientRole, StopReason};

/// How often the origin is asked whether it has the stream.
const ASK: Duration = Duration::from_millis(200);
/// An origin that does not answer for so long is given up. Viewers have a picture again within a second; an origin that
/// was only busy loses nothing but this stream, and none of its messages.
const HUNG: Duration = Duration::from_millis(750);
/// The only origin has longer until it has the stream: to give it up would mean to begin again with the same one, which is
/// busy, and nobody has seen the stream yet.
const HUNG_ALONE: Duration = Duration::from_secs(3);
/// What an origin has to confirm that it has the stream, and to confirm its end.
const CONFIRM: Duration = Duration::from_secs(2);

/// One way to one origin; cut when dropped.
pub(super) struct Link {
    origin: SocketAddr,
    state: watch::Receiver<LinkState>,
    task: Option<JoinHandle<()>>,
    finish: CancellationToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Opening,
    /// The origin says that it has the stream.
    Carrying {
        /// The origin is leaving.
        draining: bool,
    },
    Over(Over),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// All was sent.
    Finished,
    /// The cluster does not want the publication.
    Refused(Refusal),
    /// The origin is gone, hangs, or has lost the stream.
    Lost(String),
}

impl Link {
    pub(super) fn open(forward: Forward, origin: SocketAddr) -> Self {
        let (sender, state) = watch::channel(LinkState::Opening);
        let finish = forward.ended.child_token();
        let finished = finish.clone();
        let task = tokio::spawn(
            Carrier {
                forward,
                origin,
                finished,
                state: sender,
            }
            .run(),
        );
        Self {
            origin,
            state,
            task: Some(task),
            finish,
        }
    }

    pub(super) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Waits until it is clear whether the origin takes the stream.
    pub(super) async fn opened(&self) -> LinkState {
        self.reached(|state| *state != LinkState::Opening).await
    }

    /// Waits for the end.
    pub(super) async fn over(&self) -> Over {
        match self
            .reached(|state| matches!(state, LinkState::Over(_)))
            .await
        {
            LinkState::Over(over) => over,
            state => Over::Lost(format!("{state:?}")),
        }
    }

    /// Waits until the origin is leaving.
    pub(super) async fn draining(&self) {
        self.reached(|state| *state == LinkState::Carrying { draining: true })
            .await;
        if !matches!(*self.state.borrow(), LinkState::Carrying { draining: true }) {
            std::future::pending::<()>().await;
        }
    }

    /// Lets the origin have what is in the log, and no more.
    pub(super) fn finish(mut self) {
        self.finish.cancel();
        self.task = None;
    }

    async fn reached(&self, condition: impl FnMut(&LinkState) -> bool) -> LinkState {
        let mut state = self.state.clone();
        match state.wait_for(condition).await {
            Ok(state) => state.clone(),
            Err(_) => LinkState::Over(Over::Lost("ended".to_owned())),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Carrier {
    forward: Forward,
    origin: SocketAddr,
    finished: CancellationToken,
    state: watch::Sender<LinkState>,
}

impl Carrier {
    async fn run(self) {
        let (stream, origin) = (self.forward.stream.key(), self.origin);
        let over = self.carry().await.unwrap_or_else(|over| over);
        match &over {
            Over::Lost(reason) => {
                self.forward
                    .relay
                    .0
                    .failures
                    .fetch_add(1, Ordering::Relaxed);
                self.forward.relay.suspect(origin);
                self.forward.relay.refresh();
                info!(%stream, %origin, reason, "forwarding lost");
            }
            over => info!(%stream, %origin, ?over, "forwarding ended"),
        }
        self.state.send_replace(LinkState::Over(over));
    }

    async fn carry(&self) -> Result<Over, Over> {
        let lost = |error: ClientError| Over::Lost(error.to_string());
        let mut side = self
            .forward
            .relay
            .connect(self.origin)
            .await
            .map_err(lost)?;
        let (start, node) = self.start(&mut side).await?;
        let mut connection = self
            .forward
            .relay
            .connect(self.origin)
            .await
            .map_err(lost)?;
        let reject =
            self.forward.relay.0.config.stream.duplicate_publish == DuplicatePublish::Reject;
        let key = self.forward.stream.key();
        let parameters = Parameters {
            epoch: Some(self.forward.epoch),
            reject,
            ..Parameters::of(key)
        };
        let cursor = self
            .forward
            .stream
            .subscribe(Format::Relay, start, self.forward.worker);
        let client = self
            .forward
            .relay
            .enter(self.origin, ClientRole::Viewer, key, &node);
        let client = Arc::new(client);
        let until = Until::Finished(self.finished.clone());
        let body = Outflow::new(cursor, until, Arc::clone(&client)).body();
        let uri = parameters.uri(PUSH);
        tokio::select! {
            answer = connection.send(Method::POST, &uri, body) => {
                self.concluded(answer.map_err(lost)?).await
            }
            over = self.supervise(side) => Err(over),
            () = kicked(&client) => Err(Over::Lost("kicked".to_owned())),
            () = self.overtime() => Err(Over::Lost("the end was not confirmed".to_owned())),
        }
    }

    /// Where to begin: after what the origin has already, or with all that there is.
    async fn start(&self, side: &mut Connection) -> Result<(Start, HeaderValue), Over> {
        let asked =
            self.forward
                .relay
                .ask(side, self.origin, self.forward.stream.key(), Duration::ZERO);
        let patience = self.patience();
        let answer = match timeout(patience, asked).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(Over::Lost("that is this node".to_owned())),
            Ok(Err(error)) => return Err(Over::Lost(error.to_string())),
            Err(_) => return Err(Over::Lost(format!("no answer in {patience:?}"))),
        };
        if answer.live && answer.epoch() > self.forward.epoch {
            return Err(Over::Refused(Refusal::Superseded));
        }
        let start = match answer.epoch() == self.forward.epoch {
            true => Start::At(self.forward.epoch, answer.known.sequence),
            false => self.forward.beginning(),
        };
        Ok((start, answer.node))
    }

    /// Asks again and again whether the origin has the stream. Ends when it has not.
    async fn supervise(&self, side: Connection) -> Over {
        let mut side = Some(side);
        let begun = Instant::now();
        let mut heard = begun;
        let mut confirmed = false;
        loop {
            sleep(if confirmed { ASK } else { ASK / 10 }).await;
            let hung = if confirmed { HUNG } else { self.patience() };
            let deadline = heard + hung;
            if self.finished.is_cancelled() {
                // The stream is to end there: the answer to the push says when.
                std::future::pending::<()>().await;
            }
            match timeout_at(deadline, self.ask(&mut side)).await {
                Err(_) => return Over::Lost(format!("no answer for {hung:?}")),
                Ok(Err(error)) if Instant::now() > deadline => {
                    return Over::Lost(error.to_string());
                }
                Ok(Err(_)) => continue,
                Ok(Ok((live, _, _))) if confirmed && !live => {
                    return Over::Lost("the stream is not there any more".to_owned());
                }
                Ok(Ok((true, epoch, _))) if epoch > self.forward.epoch => {
                    return Over::Refused(Refusal::Superseded);
                }
                Ok(Ok((true, epoch, draining))) if epoch == self.forward.epoch => {
                    confirmed = true;
                    let now = LinkState::Carrying { draining };
                    self.state
                        .send_if_modified(|state| std::mem::replace(state, now.clone()) != now);
                }
                Ok(Ok(_)) if begun.elapsed() > CONFIRM => {
                    return Over::Lost("the stream did not get there".to_owned());
                }
                Ok(Ok(_)) => {}
            }
            heard = Instant::now();
        }
    }

    /// How long the origin may be silent before it has the stream.
    fn patience(&self) -> Duration {
        let origins = self.forward.relay.preferred(self.forward.stream.key());
        match origins.iter().any(|origin| *origin != self.origin) {
            true => HUNG,
            false => HUNG_ALONE,
        }
    }

    async fn ask(&self, side: &mut Option<Connection>) -> Result<(bool, Epoch, bool), ClientError> {
        // A connection that was told of an error is of no use any more.
        let mut connection = match side.take() {
            Some(connection) => connection,
            None => self.forward.relay.connect(self.origin).await?,
        };
        let key = self.forward.stream.key();
        let answer = self
            .forward
            .relay
            .ask(&mut connection, self.origin, key, Duration::ZERO)
            .await?;
        *side = Some(connection);
        let answer = answer.ok_or_else(|| ClientError::Answer("that is this node".to_owned()))?;
        Ok((answer.live, answer.epoch(), answer.known.draining))
    }

    async fn concluded(&self, answer: Response<Incoming>) -> Result<Over, Over> {
        let status = answer.status();
        match status {
            StatusCode::OK => Ok(Over::Finished),
            StatusCode::CONFLICT => match timeout(HUNG, json::<Conflict>(answer)).await {
                Ok(Ok(Conflict {
                    reason: Reason::AlreadyPublished,
                })) => Err(Over::Refused(Refusal::AlreadyPublished)),
                Ok(Ok(Conflict {
                    reason: Reason::Superseded,
                })) => Err(Over::Refused(Refusal::Superseded)),
                Ok(Err(_)) | Err(_) => Err(Over::Lost(format!("status {status}"))),
            },
            status => Err(Over::Lost(format!("status {status}"))),
        }
    }

    async fn overtime(&self) {
        self.finished.cancelled().await;
        sleep(CONFIRM).await;
    }
}

async fn kicked(client: &ClientGuard) {
    while client.stopped().await != StopReason::Kicked {}
}
