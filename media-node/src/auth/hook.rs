//! Hooks: an HTTP server that decides, with the callbacks of SRS.
//!
//! `on_publish` and `on_play` are questions. A status 2xx with the body `0` or `{"code": 0}` allows the client. `on_unpublish` and
//! `on_stop` notify the server once that a client that it has allowed has left.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media_config::{FailurePolicy, HookSettings};
use media_wire::stream_key::DEFAULT_VHOST;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use super::Denial;
use super::background::{Background, Calls};
use super::fetch::{FetchClient, FetchedResponse};
use super::request::{AccessRequest, Action};
use crate::turns::Turns;

/// The maximum number of questions that a hook is asked at one time. Further ones wait, within the timeout. Client addresses share them: a
/// hook that takes long to answer about the clients of one address answers about the others meanwhile.
const MAX_QUESTIONS: usize = 128;

/// The maximum number of notifications of a hook at one time. Questions do not wait for them.
const MAX_NOTICES: usize = 16;

/// The maximum number of calls that run or wait. Beyond it departures are not reported, so that a hook that does not respond costs a
/// bounded amount of memory.
const MAX_PENDING: usize = 16_384;

/// The maximum number of attempts to notify the hook of a client that left.
const ATTEMPTS: u32 = 4;

/// The pause after the first attempt. Each further pause is longer by as much.
const PAUSE: Duration = Duration::from_secs(1);

/// The hook of one action.
pub(super) struct Hook(Arc<HookServer>, HookInstance);

/// The media node, as hooks see it.
#[derive(Clone)]
pub(super) struct HookInstance {
    name: Arc<str>,
    /// Random, so that the ids of two runs differ.
    run: u32,
}

impl HookInstance {
    pub(super) fn new(name: &str) -> Self {
        let random = RandomState::new().hash_one(name);
        Self {
            name: name.into(),
            run: u32::try_from(random >> 32).unwrap_or_default(),
        }
    }
}

struct HookServer {
    action: Action,
    client: FetchClient,
    timeout: Duration,
    policy: FailurePolicy,
    questions: Turns,
    notices: Semaphore,
}

/// A client that a hook has allowed. When it is dropped, the hook is notified.
pub(super) struct HookSession {
    server: Arc<HookServer>,
    calls: Calls,
    event: Arc<HookEvent>,
}

/// A client, as callbacks describe it.
struct HookEvent {
    /// Name of the media node that the client is connected to. In Kubernetes it is the Pod's.
    instance: Arc<str>,
    /// Unique among all media nodes, also after a restart.
    client: String,
    peer: IpAddr,
    vhost: String,
    app: String,
    stream: String,
    param: String,
    tc_url: String,
    page_url: String,
}

/// The body of a callback.
#[derive(Serialize)]
struct Callback<'a> {
    action: &'static str,
    server_id: &'a str,
    client_id: &'a str,
    ip: IpAddr,
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    param: &'a str,
    #[serde(rename = "tcUrl")]
    tc_url: &'a str,
    #[serde(rename = "pageUrl")]
    page_url: &'a str,
}

impl Hook {
    pub(super) fn new(
        action: Action,
        settings: &HookSettings,
        instance: &HookInstance,
    ) -> Result<Self, String> {
        let server = Arc::new(HookServer {
            action,
            client: FetchClient::new(&settings.url, None)?,
            timeout: settings.timeout(),
            policy: settings.failure_policy,
            questions: Turns::new(MAX_QUESTIONS),
            notices: Semaphore::new(MAX_NOTICES),
        });
        Ok(Self(server, instance.clone()))
    }

    /// Asks on the background thread.
    pub(super) async fn ask(
        &self,
        request: &AccessRequest<'_>,
        background: &Background,
    ) -> Result<HookSession, Denial> {
        let (answer, answered) = oneshot::channel();
        let (server, calls) = (Arc::clone(&self.0), background.calls());
        let event = Arc::new(HookEvent::new(request, &self.1));
        background.calls().spawn(async move {
            let allowed = server.ask(&event).await;
            let session = allowed.map(|()| HookSession {
                server,
                calls,
                event,
            });
            // When the client has left, the session is not received but dropped, which notifies the hook.
            drop(answer.send(session));
        });
        answered.await.unwrap_or(Err(Denial::HookUnavailable))
    }
}

impl Drop for HookSession {
    fn drop(&mut self) {
        if self.calls.pending() >= MAX_PENDING {
            return self.calls.count_lost();
        }
        let (server, calls) = (Arc::clone(&self.server), self.calls.clone());
        let event = Arc::clone(&self.event);
        self.calls.spawn(async move {
            if !server.notify(&event).await {
                calls.count_lost();
            }
        });
    }
}

impl HookServer {
    async fn ask(&self, event: &HookEvent) -> Result<(), Denial> {
        let deadline = Instant::now() + self.timeout;
        let answered = async {
            let _turn = self.questions.of(event.peer).await?;
            let body = event.body(match self.action {
                Action::Publish => "on_publish",
                Action::Play => "on_play",
            });
            let answer = self.client.post(body, self.timeout).await;
            let host = self.client.host();
            answer
                .inspect_err(|error| debug!(host, %error, "hook failed"))
                .ok()
        };
        let answer = timeout_at(deadline, answered).await.ok().flatten();
        match answer.filter(|answer| answer.status < 500) {
            Some(answer) if allows(&answer) => Ok(()),
            Some(_) => Err(Denial::Hook),
            None if self.policy == FailurePolicy::Allow => Ok(()),
            None => Err(Denial::HookUnavailable),
        }
    }

    /// Notifies the hook that a client has left; returns false when the hook cannot be reached.
    async fn notify(&self, event: &HookEvent) -> bool {
        let action = match self.action {
            Action::Publish => "on_unpublish",
            Action::Play => "on_stop",
        };
        let Ok(_permit) = self.notices.acquire().await else {
            return false;
        };
        for attempt in 1..=ATTEMPTS {
            let answer = self.client.post(event.body(action), self.timeout).await;
            match answer {
                Ok(answer) if answer.status < 500 => return true,
                _ if attempt < ATTEMPTS => sleep(PAUSE * attempt).await,
                _ => {}
            }
        }
        let client = &event.client;
        warn!(
            host = self.client.host(),
            client, action, "hook not reached"
        );
        false
    }
}

impl HookEvent {
    fn new(request: &AccessRequest<'_>, instance: &HookInstance) -> Self {
        let stream = request.stream;
        let query = request.credential.query();
        Self {
            instance: Arc::clone(&instance.name),
            client: format!("{:08x}-{}", instance.run, request.client),
            peer: request.peer.to_canonical(),
            vhost: stream.vhost().unwrap_or(DEFAULT_VHOST).to_owned(),
            app: stream.app().to_owned(),
            stream: stream.name().to_owned(),
            param: match query {
                "" => String::new(),
                query => format!("?{query}"),
            },
            tc_url: request.tc_url.to_owned(),
            page_url: request.page_url.to_owned(),
        }
    }

    fn body(&self, action: &'static str) -> Bytes {
        let callback = Callback {
            action,
            server_id: &self.instance,
            client_id: &self.client,
            ip: self.peer,
            vhost: &self.vhost,
            app: &self.app,
            stream: &self.stream,
            param: &self.param,
            tc_url: &self.tc_url,
            page_url: &self.page_url,
        };
        serde_json::to_vec(&callback)
            .expect("strings and numbers are always JSON")
            .into()
    }
}

fn allows(answer: &FetchedResponse) -> bool {
    let body = answer.body.trim_ascii();
    let code = || serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["code"] == 0);
    answer.is_success() && (body == b"0" || code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> FetchedResponse {
        FetchedResponse {
            status,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn yes_is_a_success_with_the_code_zero() {
        for body in ["0", " 0\n", "{\"code\": 0}", "{\"code\":0,\"data\":null}"] {
            assert!(allows(&answer(200, body)), "{body}");
        }
        for body in [
            "",
            "1",
            "{\"code\":1}",
            "{}",
            "OK",
            "00",
            "[0]",
            "{\"code\":\"0\"}",
        ] {
            assert!(!allows(&answer(200, body)), "{body}");
        }
        assert!(!allows(&answer(403, "0")));
        assert!(allows(&answer(201, "0")));
    }
}
