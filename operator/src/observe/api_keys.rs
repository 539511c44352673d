//! The public keys with which the API server signs ServiceAccount tokens. Media nodes verify each other's tokens with them.
//!
//! A key that the API server does not publish any more still verifies tokens for an hour: the kubelet has given them to Pods, and
//! no relay must break before it has renewed them.

use std::time::Duration;

use http::Request;
use kube::Client;
use media_config::TOKEN_PER_CLUSTER;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::k8s::call_error::CallError;

/// Path of the keys. Every ServiceAccount may read it, by the ClusterRole `system:service-account-issuer-discovery`.
const PATH: &str = "/openid/v1/jwks";
/// Time for which an answer of the API server is reused.
const CACHE_TIME: Duration = Duration::from_secs(30);
/// Seconds for which a removed key is kept: the lifetime of the Pods' tokens.
const KEPT_SECONDS: i64 = 3600;
/// Member of a removed key: when it was first missing, in seconds since the Unix epoch. RFC 7517 lets readers ignore it.
const REMOVED: &str = "livecluster.dev/removed";

/// The API server's keys, as they were last read.
#[derive(Debug, Default)]
pub struct ApiKeys {
    read: Mutex<ReadKeys>,
}

#[derive(Debug, Default)]
struct ReadKeys {
    last: Option<(Instant, Vec<Value>)>,
    /// The keys at the last call of [`ApiKeys::have_changed`].
    reported: Option<Vec<Value>>,
}

impl ApiKeys {
    /// Returns the keys. Those of the last 30 seconds are reused.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn current(&self, client: &Client) -> Result<Vec<Value>, CallError> {
        self.read.lock().await.current(client).await
    }

    /// Reads the keys again when the last ones are old. Returns whether they have changed since the previous call: a reconciliation
    /// may have read them meanwhile, for one LiveCluster only.
    pub async fn have_changed(&self, client: &Client) -> bool {
        let mut read = self.read.lock().await;
        let Ok(now) = read.current(client).await else {
            // Without an answer, Pods keep the keys that they have.
            return false;
        };
        let before = read.reported.replace(now);
        before.is_some() && before != read.reported
    }
}

impl ReadKeys {
    async fn current(&mut self, client: &Client) -> Result<Vec<Value>, CallError> {
        if let Some((at, keys)) = &self.last
            && at.elapsed() < CACHE_TIME
        {
            return Ok(keys.clone());
        }
        let keys = fetch(client).await?;
        self.last = Some((Instant::now(), keys.clone()));
        Ok(keys)
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
    async fn change_that_a_reconciliation_reads_first_is_reported_once() {
        let (client, api) = FakeApi::start();
        let keys = ApiKeys::default();
        assert!(!keys.have_changed(&client).await);
        api.put("jwks", json!({"keys": [key("b")]}));
        tokio::time::advance(CACHE_TIME).await;
        assert_eq!(keys.current(&client).await.unwrap(), [key("b")]);
        assert!(keys.have_changed(&client).await);
        assert!(!keys.have_changed(&client).await);
    }

    #[test]
    fn set_that_cannot_be_read_is_replaced() {
        assert_eq!(kids(&merge(Some("nonsense"), &[key("a")], 0)), ["a"]);
    }
}
