//! Asking the origins who has a publication of a stream: all at once, each for a bounded time, the newest one wins.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{HeaderValue, Method, StatusCode};
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::Relay;
use super::client::{ClientError, Connection, collect, json, nothing};
use super::protocol::{Known, NODE, PUBLICATION, Parameters};

/// What an origin has to answer a question, beside the time that it was told to wait.
const ANSWER: Duration = Duration::from_millis(500);
/// What an origin has for a report of what it does.
const REPORT: Duration = Duration::from_secs(1);
/// Bytes of such a report: some thousand streams.
const MAX_REPORT: usize = 4 << 20;
/// What the others get when one has a publication: theirs may be newer.
const GRACE: Duration = Duration::from_millis(60);
/// Questions that are under way at one time.
const AT_ONCE: usize = 32;

/// What one origin said.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) origin: SocketAddr,
    /// What it calls itself.
    pub(super) node: HeaderValue,
    /// Whether there is a publication now; if not, `known` is the last one.
    pub(super) live: bool,
    pub(super) known: Known,
}

impl Answer {
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.known.epoch)
    }
}

/// What all origins said.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Of other nodes, not of this one.
    pub(super) answers: Vec<Answer>,
    /// How many said nothing.
    pub(super) silent: usize,
}

/// When a survey is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// One has a publication, and the others had a moment more.
    Found,
    /// All have answered, or their time is over.
    All,
}

impl Survey {
    /// Where the newest publication is. Of one that is at two origins, because it is moving, the one that stays.
    pub(super) fn newest(&self) -> Option<&Answer> {
        let live = self.answers.iter().filter(|answer| answer.live);
        live.max_by_key(|answer| {
            (
                answer.epoch(),
                !answer.known.draining,
                answer.known.sequence,
            )
        })
    }

    /// All origins have answered, and none has a publication.
    pub(super) fn is_absent(&self) -> bool {
        self.silent == 0 && !self.answers.is_empty() && self.newest().is_none()
    }

    pub(super) fn of(&self, origin: SocketAddr) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.origin == origin)
    }
}

impl Relay {
    /// Asks all origins. Those that have no publication are told to wait for one for as long as `wait`.
    pub(super) async fn survey(&self, key: &StreamKey, wait: Duration, until: Until) -> Survey {
        let mut survey = Survey::default();
        let Some(origins) = self.origins() else {
            return survey;
        };
        let asked = origins.current().to_vec();
        let questions = asked
            .into_iter()
            .map(async |origin| (origin, self.question(origin, key, wait).await));
        let mut answers = stream::iter(questions).buffer_unordered(AT_ONCE);
        let mut end = None;
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => None,
            };
            let Some((origin, answer)) = answer else {
                break;
            };
            match answer {
                Ok(Some(answer)) => {
                    if answer.live && until == Until::Found {
                        end.get_or_insert(Instant::now() + GRACE);
                    }
                    survey.answers.push(answer);
                    self.trust(origin);
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(%origin, %error, "origin did not answer");
                    survey.silent += 1;
                    self.suspect(origin);
                }
            }
        }
        // Who has it may be an origin that DNS did not tell of yet.
        if survey.silent > 0 || survey.newest().is_none() {
            origins.refresh();
        }
        survey
    }

    /// What the other origins answer to a request, each of them once: bounded in time and size, and without those that do
    /// not answer.
    pub(crate) async fn ask_origins(&self, path: &str) -> Vec<Bytes> {
        let asked = self.origins().map(|origins| origins.current().to_vec());
        let requests = asked.unwrap_or_default().into_iter().map(async |origin| {
            let request = self.request(origin, path);
            timeout(REPORT, request).await.ok()?.ok()
        });
        let answers: Vec<Option<(HeaderValue, Bytes)>> = stream::iter(requests)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        // A node with several addresses answers at each of them.
        let mut reports = HashMap::new();
        for (node, report) in answers
            .into_iter()
            .flatten()
            .filter(|(node, _)| *node != self.0.node)
        {
            reports.insert(node, report);
        }
        reports.into_values().collect()
    }

    async fn request(
        &self,
        origin: SocketAddr,
        path: &str,
    ) -> Result<(HeaderValue, Bytes), ClientError> {
        let mut connection = self.connect(origin).await?;
        let answer = connection.send(Method::GET, path, nothing()).await?;
        let (status, node) = (answer.status(), answer.headers().get(NODE).cloned());
        let Some(node) = node.filter(|_| status == StatusCode::OK) else {
            return Err(ClientError::Answer(format!("status {status}")));
        };
        Ok((node, collect(answer, MAX_REPORT).await?))
    }

    /// Asks one origin over a connection of its own; `None` when it is this node.
    async fn question(
        &self,
        origin: SocketAddr,
        key: &StreamKey,
        wait: Duration,
    ) -> Result<Option<Answer>, ClientError> {
        let asked = async {
            let mut connection = self.connect(origin).await?;
            self.ask(&mut connection, origin, key, wait).await
        };
        let limit = wait + ANSWER;
        timeout(limit, asked)
            .await
            .map_err(|_| ClientError::Timeout(limit))?
    }

    /// Asks one origin over `connection`; `None` when it is this node.
    pub(super) async fn ask(
        &self,
        connection: &mut Connection,
        origin: SocketAddr,
        key: &StreamKey,
        wait: Duration,
    ) -> Result<Option<Answer>, ClientError> {
        let uri = Parameters {
            wait,
            ..Parameters::of(key)
        }
        .uri(PUBLICATION);
        let response = connection.send(Method::GET, &uri, nothing()).await?;
        let node = response.headers().get(NODE).cloned();
        let node = node.ok_or_else(|| ClientError::Answer("not a node".to_owned()))?;
        if node == self.0.node {
            return Ok(None);
        }
        let live = match response.status() {
            StatusCode::OK => true,
            StatusCode::NOT_FOUND => false,
            status => return Err(ClientError::Answer(format!("status {status}"))),
        };
        Ok(Some(Answer {
            origin,
            node,
            live,
            known: json(response).await?,
        }))
    }
}
