//! Clients of the Kubernetes API. They do not retry in silence, and every request passes [`RequestLayer`].

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::{Client, Config};

use crate::k8s::request_layer::RequestLayer;
use crate::k8s::write_fence::WriteFence;

/// Returns the configuration of all clients: that of the Pod, or of `KUBECONFIG`.
///
/// # Errors
/// When there is neither.
pub async fn config() -> Result<Config, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    // kube retries up to 15 times in silence. A reconciliation that fails is better logged, counted and retried as a
    // whole.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let agent = concat!("livecluster-operator/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    Ok(config)
}

/// Returns a client that needs no leadership.
///
/// # Errors
/// When the credentials of the configuration cannot be used.
pub fn client(config: &Config, requests: &RequestLayer) -> Result<Client, kube::Error> {
    let builder = ClientBuilder::try_from(config.clone())?;
    Ok(builder.with_layer(requests).build())
}

/// Returns the client of the leader: it writes only while `fence` is open.
///
/// # Errors
/// As [`client`].
pub fn leader_client(
    config: &Config,
    requests: &RequestLayer,
    fence: &WriteFence,
) -> Result<Client, kube::Error> {
    let builder = ClientBuilder::try_from(config.clone())?;
    Ok(builder.with_layer(fence).with_layer(requests).build())
}

/// Returns a client for the Lease, with connections of its own: a stalled watch must not cost the leadership.
///
/// # Errors
/// As [`client`].
pub fn lease_client(config: &Config, requests: &RequestLayer) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    config.read_timeout = Some(Duration::from_secs(5));
    config.reset_reader_on_write = true;
    client(&config, requests)
}
