//! A tower layer of the Kubernetes client: counts every request and limits its time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::monitoring::metrics::OperatorMetrics;

/// Time that a request and its response may take. The API server answers in milliseconds; a slower answer is better
/// requested again.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The request got no complete response in time.
#[derive(Debug, thiserror::Error)]
#[error("no response within {} seconds", REQUEST_LIMIT.as_secs())]
pub struct RequestTimedOut;

/// Counts requests and limits their time. Watches pass unchanged: they are meant to stay open.
#[derive(Clone, Debug)]
pub struct RequestLayer {
    metrics: OperatorMetrics,
}

impl RequestLayer {
    /// Returns a layer that counts in `metrics`.
    pub fn new(metrics: OperatorMetrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = LimitedRequests<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitedRequests {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// The service that [`RequestLayer`] puts around another one.
#[derive(Debug)]
pub struct LimitedRequests<S> {
    inner: S,
    metrics: OperatorMetrics,
}

impl<S, B> Service<Request<Body>> for LimitedRequests<S>
where
    S: Service<
            Request<Body>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        >,
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(&request);
        let resource = resource(request.uri().path());
        let response = self.inner.call(request);
        if verb == "watch" {
            return Box::pin(async {
                let response = response.await.map_err(Into::into)?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        let metrics = self.metrics.clone();
        Box::pin(async move {
            let (code, result) = match tokio::time::timeout(REQUEST_LIMIT, complete(response)).await
            {
                Ok(Ok(response)) => (response.status().as_str().to_owned(), Ok(response)),
                Ok(Err(error)) => ("error".to_owned(), Err(error)),
                Err(_) => ("timeout".to_owned(), Err(RequestTimedOut.into())),
            };
            metrics.count_api_request(verb, &resource, &code);
            result.map(|response| {
                response.map(|bytes| {
                    Full::new(bytes)
                        .map_err(|never| match never {})
                        .boxed_unsync()
                })
            })
        })
    }
}

/// Reads the whole body, so that the time limit includes it.
async fn complete<B, E>(
    response: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<Bytes>, BoxError>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    let (parts, body) = response.await.map_err(Into::into)?.into_parts();
    let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok(Response::from_parts(parts, bytes))
}

/// Returns the verb of a request as the API server counts it in `apiserver_request_total`, in lower case.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or("");
    match *request.method() {
        Method::GET if query.split('&').any(|pair| pair == "watch=true") => "watch",
        Method::GET if segments(request.uri().path()).nth(1).is_none() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ if is_apply(request) => "apply",
        _ => "patch",
    }
}

fn is_apply(request: &Request<Body>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/apply-patch"))
}

/// Returns the resource of a path with its subresource, such as `deployments/scale`: never a name, so that the label
/// has few values.
fn resource(path: &str) -> String {
    let mut segments = segments(path);
    let resource = segments.next().unwrap_or_default();
    match segments.nth(1) {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    }
}

/// Returns resource, name and subresource of a path such as
/// `/apis/apps/v1/namespaces/media/deployments/demo-edge/scale`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut segments = path.trim_matches('/').split('/');
    // `api` is followed by the version, `apis` by group and version.
    let is_core = segments.next() == Some("api");
    let rest = segments.skip(if is_core { 1 } else { 2 });
    let mut rest = rest.peekable();
    if rest.next_if_eq(&"namespaces").is_some() {
        rest.next();
    }
    rest
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchParams};
    use kube::{Api, Client};
    use serde_json::json;
    use tower_test::mock;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    /// Returns the lines of the request counter, without the metric's name.
    fn counted(metrics: &OperatorMetrics) -> Vec<String> {
        let text = metrics.render().unwrap();
        let lines = text.lines();
        lines
            .filter_map(|line| line.strip_prefix("live_operator_api_requests_total"))
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test]
    async fn every_request_is_counted_by_verb_resource_and_code() {
        let metrics = OperatorMetrics::new().unwrap();
        let (service, api) = FakeApi::service();
        let client = Client::new(RequestLayer::new(metrics.clone()).layer(service), "media");
        let deployments: Api<Deployment> = Api::namespaced(client, "media");
        assert!(deployments.get_opt("demo-edge").await.unwrap().is_none());
        let document = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo-edge"}});
        let apply = PatchParams::apply("test");
        deployments
            .patch("demo-edge", &apply, &Patch::Apply(document))
            .await
            .unwrap();
        let scale = Patch::Merge(json!({"spec": {"replicas": 2}}));
        deployments
            .patch_scale("demo-edge", &PatchParams::default(), &scale)
            .await
            .unwrap();
        deployments
            .list(&kube::api::ListParams::default())
            .await
            .unwrap();
        deployments
            .delete("demo-edge", &DeleteParams::default())
            .await
            .unwrap();
        api.refuse(Method::POST, "deployments", 403, "Forbidden", "not allowed");
        deployments
            .create(&PostParams::default(), &Deployment::default())
            .await
            .unwrap_err();
        assert_eq!(
            counted(&metrics),
            [
                r#"{code="200",resource="deployments",verb="apply"} 1"#,
                r#"{code="200",resource="deployments",verb="delete"} 1"#,
                r#"{code="200",resource="deployments",verb="list"} 1"#,
                r#"{code="200",resource="deployments/scale",verb="patch"} 1"#,
                r#"{code="403",resource="deployments",verb="create"} 1"#,
                r#"{code="404",resource="deployments",verb="get"} 1"#,
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn request_without_response_ends_at_its_time_limit() {
        let metrics = OperatorMetrics::new().unwrap();
        let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
        let service = RequestLayer::new(metrics.clone()).layer(service);
        let deployments: Api<Deployment> = Api::namespaced(Client::new(service, "media"), "media");
        let start = tokio::time::Instant::now();
        let error = deployments.get("demo-edge").await.unwrap_err();
        assert_eq!(start.elapsed(), REQUEST_LIMIT);
        assert!(
            error.to_string().contains("no response within 10 seconds"),
            "{error}"
        );
        assert_eq!(
            counted(&metrics),
            [r#"{code="timeout",resource="deployments",verb="get"} 1"#]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn watch_is_neither_limited_nor_counted() {
        let metrics = OperatorMetrics::new().unwrap();
        let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
        let service = RequestLayer::new(metrics.clone()).layer(service);
        let deployments: Api<Deployment> = Api::namespaced(Client::new(service, "media"), "media");
        let params = WatchParams::default();
        let watch = deployments.watch(&params, "0");
        assert!(
            tokio::time::timeout(REQUEST_LIMIT * 2, watch)
                .await
                .is_err()
        );
        assert_eq!(counted(&metrics), Vec::<String>::new());
    }

    #[test]
    fn path_names_its_resource() {
        for (path, expected) in [
            ("/api/v1/namespaces/media/pods", "pods"),
            ("/apis/apps/v1/deployments", "deployments"),
            (
                "/apis/livecluster.dev/v1alpha1/namespaces/media/liveclusters/demo/status",
                "liveclusters/status",
            ),
            (
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "selfsubjectaccessreviews",
            ),
        ] {
            assert_eq!(resource(path), expected);
        }
    }
}
