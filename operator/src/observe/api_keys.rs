//! The public keys with which the API server signs ServiceAccount tokens. Media nodes verify each other's tokens with them.
//!
//! A key that the API server does not publish any more still verifies tokens for an hour: the kubelet has given them to Pods, and
//! no relay must break before it has renewed them.

use std::time::Duration;

use http::Request;
use kube::Client;
use media_config::TOKEN_PER_CLUSTER;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::k8s::call_error::CallError;

/// Path of the keys. Every ServiceAccount may read it, by the ClusterRole `system:service-account-issuer-discovery`.
const PATH: &str = "/openid/v1/jwks";
/// Time after which the keys are read again.
const READ_INTERVAL: Duration = Duration::from_secs(30);
/// Seconds for which a removed key is kept: the lifetime of the Pods' tokens.
const KEPT_SECONDS: i64 = 3600;
/// Member of a removed key: when it was first missing, in seconds since the Unix epoch. RFC 7517 lets readers ignore it.
const REMOVED: &str = "livecluster.dev/removed";

/// The API server's keys, as they were last read.
///
/// # Guarantees
/// A reconciliation waits for the API server only until keys have been read once, and only where Pods have none yet. All that wait
/// share one request.
#[derive(Debug, Default)]
pub struct ApiKeys {
    read: Mutex<ReadKeys>,
    /// Held while a request is in progress.
    request: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct ReadKeys {
    /// The newest keys, and when they were read.
    newest: Option<(Instant, Vec<Value>)>,
    /// Requests that have ended.
    requests: u64,
    /// The error of the last request.
    error: Option<CallError>,
    /// The keys at the last call of [`ApiKeys::have_changed`].
    reported: Option<Vec<Value>>,
    /// Whether a reconciliation had to do without keys.
    were_missing: bool,
}

impl ApiKeys {
    /// Returns the newest keys without a request. `None` before the first ones have been read: [`Self::have_changed`] reports those.
    pub fn newest(&self) -> Option<Vec<Value>> {
        let mut read = self.read.lock();
        let newest = read.newest.as_ref().map(|(_, keys)| keys.clone());
        read.were_missing |= newest.is_none();
        newest
    }

    /// Returns the keys. Requests them when none have been read yet.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read_once(&self, client: &Client) -> Result<Vec<Value>, CallError> {
        let before = self.read.lock().requests;
        let _turn = self.request.lock().await;
        {
            let read = self.read.lock();
            match (&read.newest, &read.error) {
                (Some((_, keys)), _) => return Ok(keys.clone()),
                (None, Some(error)) if read.requests > before => return Err(error.clone()),
                (None, _) => {}
            }
        }
        self.request(client).await
    }

    /// Reads the keys again when the newest ones are old. Returns whether they have changed since the previous call: a reconciliation
    /// may have read the first ones meanwhile, for one LiveCluster only.
    pub async fn have_changed(&self, client: &Client) -> bool {
        let _turn = self.request.lock().await;
        let is_new = |(at, _): &(Instant, _)| at.elapsed() < READ_INTERVAL;
        if !self.read.lock().newest.as_ref().is_some_and(is_new) {
            // Without an answer, Pods keep the keys that they have.
            drop(self.request(client).await);
        }
        let mut read = self.read.lock();
        let Some((_, keys)) = read.newest.clone() else {
            return false;
        };
        let were_missing = std::mem::take(&mut read.were_missing);
        let before = read.reported.replace(keys);
        were_missing || (before.is_some() && before != read.reported)
    }

    /// Requests the keys, while the caller holds [`Self::request`].
    async fn request(&self, client: &Client) -> Result<Vec<Value>, CallError> {
        let fetched = fetch(client).await;
        let mut read = self.read.lock();
        read.requests += 1;
        read.error = fetched.as_ref().err().cloned();
        if let Ok(keys) = &fetched {
            read.newest = Some((Instant::now(), keys.clone()));
        }
        fetched
    }
}

async fn fetch(client: &Client) -> Result<Vec<Value>, CallError> {
    let on = || CallError::on("get", "API server keys", PATH);
    let request = Request::get(PATH).body(Vec::new());
    let request = request.map_err(|error| on()(kube::Error::HttpError(error)))?;
    let set: Value = client.request(request).await.map_err(on())?;
    Ok(set["keys"].as_array().cloned().unwrap_or_default())
}

/// Returns the key set for the Pods: the API server's keys, and those of `published` that it has removed within the last hour. It
/// declares that this operator has a token for each cluster, so that its media nodes accept no other one.
/// `now` is in seconds since the Unix epoch.
pub fn merge(published: Option<&str>, current: &[Value], now: i64) -> String {
    let published: Value = published
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let is_current = |key: &Value| current.iter().any(|other| other["kid"] == key["kid"]);
    let mut keys = current.to_vec();
    for key in published["keys"].as_array().into_iter().flatten() {
        let removed = key[REMOVED].as_i64().unwrap_or(now);
        if !is_current(key) && now - removed < KEPT_SECONDS {
            let mut key = key.clone();
            key[REMOVED] = removed.into();
            keys.push(key);
        }
    }
    json!({"keys": keys, TOKEN_PER_CLUSTER: true}).to_string()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::time::timeout;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    fn key(kid: &str) -> Value {
        json!({"kid": kid, "kty": "RSA", "n": "AQAB", "e": "AQAB"})
    }

    fn kids(set: &str) -> Vec<String> {
        let set: Value = serde_json::from_str(set).unwrap();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn unchanged_keys_give_an_unchanged_set() {
        let first = merge(None, &[key("a"), key("b")], 1000);
        assert_eq!(kids(&first), ["a", "b"]);
        assert!(first.contains(r#""livecluster.dev/tokenPerCluster":true"#));
        assert_eq!(merge(Some(&first), &[key("a"), key("b")], 9000), first);
    }

    #[test]
    fn removed_key_is_kept_for_an_hour() {
        let old = merge(None, &[key("old")], 1000);
        let both = merge(Some(&old), &[key("new")], 2000);
        assert_eq!(kids(&both), ["new", "old"]);
        let later = merge(Some(&both), &[key("new")], 2000 + KEPT_SECONDS - 1);
        assert_eq!(later, both, "nothing is written in the meantime");
        let expired = merge(Some(&both), &[key("new")], 2000 + KEPT_SECONDS);
        assert_eq!(kids(&expired), ["new"]);
    }

    #[test]
    fn key_that_returns_is_not_a_removed_one() {
        let both = merge(Some(&merge(None, &[key("a")], 0)), &[key("b")], 10);
        let again = merge(Some(&both), &[key("a"), key("b")], 20);
        assert!(!again.contains(REMOVED));
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_reported_once() {
        let (client, api) = FakeApi::start();
        let keys = ApiKeys::default();
        assert!(!keys.have_changed(&client).await);
        api.put("jwks", json!({"keys": [key("b")]}));
        assert!(!keys.have_changed(&client).await);
        tokio::time::advance(READ_INTERVAL).await;
        assert!(keys.have_changed(&client).await);
        assert_eq!(keys.newest().unwrap(), [key("b")]);
        assert!(!keys.have_changed(&client).await);
    }

    #[tokio::test]
    async fn first_keys_are_a_change_when_a_reconciliation_had_none() {
        let (client, _api) = FakeApi::start();
        let keys = ApiKeys::default();
        assert_eq!(keys.newest(), None);
        assert!(keys.have_changed(&client).await);
        assert!(!keys.have_changed(&client).await);
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_are_used_without_waiting_while_the_api_server_hangs() {
        let (client, api) = FakeApi::start();
        let keys = ApiKeys::default();
        assert!(!keys.have_changed(&client).await);
        api.stop_responding();
        tokio::time::advance(READ_INTERVAL).await;
        let reading = keys.have_changed(&client);
        assert!(timeout(Duration::from_secs(1), reading).await.is_err());
        assert!(keys.newest().is_some());
    }

    #[tokio::test]
    async fn reconciliations_that_wait_share_a_request_and_its_error() {
        let (client, api) = FakeApi::start();
        let keys = ApiKeys::default();
        api.refuse(Method::GET, "jwks", 403, "Forbidden", "not allowed");
        let refused = tokio::join!(keys.read_once(&client), keys.read_once(&client));
        assert!(refused.0.is_err() && refused.1.is_err());
        assert_eq!(api.requests().len(), 1);
        api.stop_refusing();
        let read = tokio::join!(keys.read_once(&client), keys.read_once(&client));
        assert_eq!(read.0.unwrap(), read.1.unwrap());
        assert_eq!(api.requests().len(), 1);
    }

    #[test]
    fn set_that_cannot_be_read_is_replaced() {
        assert_eq!(kids(&merge(Some("nonsense"), &[key("a")], 0)), ["a"]);
    }
}
