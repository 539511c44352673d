//! A request to the API server for tests.

use http::{Method, Request};
use kube::client::Body;
use serde_json::Value;

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct FakeRequest {
    pub(crate) method: Method,
    /// Such as `deployments/demo-edge/scale`.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl FakeRequest {
    pub(super) async fn receive(request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        Self {
            method: parts.method,
            path: short_path(parts.uri.path()),
            query: parts.uri.query().unwrap_or("").to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.query.split('&').any(|pair| pair == "watch=true")
    }
}

/// Returns `deployments/demo-edge` for `/apis/apps/v1/namespaces/media/deployments/demo-edge`.
fn short_path(path: &str) -> String {
    match path.split_once("/namespaces/") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, rest)| rest).to_owned(),
        None => path.rsplit('/').next().unwrap_or("").to_owned(),
    }
}
