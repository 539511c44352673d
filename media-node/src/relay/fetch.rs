//! Requests to all origins whose responses are put together, such as the lists of their streams.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::timeout;

use super::client::{ClientError, collect, empty};
use super::context::RelayContext;
use super::protocol::NODE;

/// Bytes of a response from each origin: some thousand streams.
const MAX_FETCHED: usize = 4 << 20;
/// Requests that run in parallel.
const MAX_PARALLEL: usize = 32;

/// Returns the responses of the other origins to a request, one for each media node. Time and size are limited, and origins
/// that do not respond are left out.
pub(super) async fn fetch_from_origins(context: &RelayContext, path: &str) -> Vec<Bytes> {
    let Some(origins) = &context.origins else {
        return Vec::new();
    };
    let limit = context.timeouts().survey.fetch;
    let current = origins.current().to_vec();
    let requests = current.into_iter().map(async |origin| {
        timeout(limit, fetch(context, origin, path))
            .await
            .ok()?
            .ok()
    });
    let responses: Vec<Option<(HeaderValue, Bytes)>> = stream::iter(requests)
        .buffer_unordered(MAX_PARALLEL)
        .collect()
        .await;
    let others = responses
        .into_iter()
        .flatten()
        .filter(|(node, _)| *node != context.node);
    // A media node with several addresses responds at each of them.
    let by_node: HashMap<HeaderValue, Bytes> = others.collect();
    by_node.into_values().collect()
}

async fn fetch(
    context: &RelayContext,
    origin: SocketAddr,
    path: &str,
) -> Result<(HeaderValue, Bytes), ClientError> {
    let mut connection = context.connect(origin).await?;
    let response = connection.send(Method::GET, path, empty()).await?;
    let (status, node) = (response.status(), response.headers().get(NODE).cloned());
    let Some(node) = node.filter(|_| status == StatusCode::OK) else {
        return Err(ClientError::Response(format!("status {status}")));
    };
    Ok((node, collect(response, MAX_FETCHED).await?))
}
