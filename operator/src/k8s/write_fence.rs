//! A tower layer of the Kubernetes client: sends writes only while this operator holds the lease.
//!
//! A process that was frozen past its lease would otherwise go on with its writes, while another operator is the leader
//! already: the task that renews the lease may be the last one to run again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::client::Body;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

/// The write was not sent: this operator no longer holds the lease.
#[derive(Debug, thiserror::Error)]
#[error("the lease is not held")]
pub struct LeaseNotHeld;

/// The time until which writes are sent. The leader election extends it with every renewal. Clones share it.
#[derive(Clone, Debug)]
pub struct WriteFence {
    deadline: Arc<Mutex<Instant>>,
}

impl WriteFence {
    /// Returns a fence that lets no write pass.
    pub fn closed() -> Self {
        Self {
            deadline: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Lets writes pass until `deadline`.
    pub fn open_until(&self, deadline: Instant) {
        *self.deadline.lock() = deadline;
    }

    /// Lets no further write pass.
    pub fn close(&self) {
        self.open_until(Instant::now());
    }

    fn is_open(&self) -> bool {
        Instant::now() < self.deadline()
    }

    /// Returns the time until which writes pass.
    pub fn deadline(&self) -> Instant {
        *self.deadline.lock()
    }
}

impl<S> Layer<S> for WriteFence {
    type Service = FencedWrites<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FencedWrites {
            inner,
            fence: self.clone(),
        }
    }
}

/// The service that [`WriteFence`] puts around another one.
#[derive(Debug)]
pub struct FencedWrites<S> {
    inner: S,
    fence: WriteFence,
}

impl<S> Service<Request<Body>> for FencedWrites<S>
where
    S: Service<
            Request<Body>,
            Error: Into<BoxError>,
            Response: Send + 'static,
            Future: Send + 'static,
        >,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() != Method::GET;
        let fence = self.fence.clone();
        if is_write && !fence.is_open() {
            return Box::pin(std::future::ready(Err(LeaseNotHeld.into())));
        }
        let mut response = Box::pin(self.inner.call(request));
        // A service may send the request only while its future is polled. So the fence is checked at every poll.
        Box::pin(std::future::poll_fn(move |context| {
            if is_write && !fence.is_open() {
                return Poll::Ready(Err(LeaseNotHeld.into()));
            }
            response.as_mut().poll(context).map_err(Into::into)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Patch, PatchParams};
    use kube::{Api, Client};
    use serde_json::json;

    use super::*;
    use crate::k8s::fake_api::FakeApi;

    #[tokio::test(start_paused = true)]
    async fn writes_pass_only_until_the_deadline_and_reads_always() {
        let (service, api) = FakeApi::service();
        let fence = WriteFence::closed();
        let client = Client::new(fence.layer(service), "media");
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let write = async || {
            let document =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
            maps.patch("a", &PatchParams::apply("test"), &Patch::Apply(document))
                .await
        };
        let error = write().await.unwrap_err();
        assert!(
            error.to_string().contains("the lease is not held"),
            "{error}"
        );
        fence.open_until(Instant::now() + Duration::from_secs(10));
        write().await.unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        write().await.unwrap_err();
        assert_eq!(api.writes(), ["PATCH configmaps/a"]);
        maps.get("a").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn write_in_progress_ends_at_the_deadline() {
        let (service, api) = FakeApi::service();
        let fence = WriteFence::closed();
        let client = Client::new(fence.layer(service), "media");
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        fence.open_until(Instant::now() + Duration::from_secs(10));
        api.stop_responding();
        let document = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let (params, patch) = (PatchParams::apply("test"), Patch::Apply(document));
        let mut write = Box::pin(maps.patch("a", &params, &patch));
        assert!(futures::poll!(&mut write).is_pending());
        tokio::time::advance(Duration::from_secs(10)).await;
        api.respond_again();
        write.await.unwrap_err();
    }
}
