//! An API server for tests: it stores objects, records requests, and refuses requests on demand.
//!
//! A server-side apply is a deep merge without field ownership, as a merge patch is. A watch yields no events.

mod objects;
mod request;

use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tower_test::mock::{self, Handle, Mock, SendResponse};

use objects::{FakeObjects, failure};

pub(crate) use request::FakeRequest;

/// A handle of the server. Clones share its state.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<FakeApiState>>,
}

#[derive(Default)]
struct FakeApiState {
    objects: FakeObjects,
    requests: Vec<FakeRequest>,
    refusals: Vec<FakeRefusal>,
    /// Requests without a response, while the server does not respond.
    held: Option<Vec<(FakeRequest, SendResponse<Response<Body>>)>>,
    /// The path of requests that never get a response.
    silent: Option<String>,
    /// Watches and requests of [`Self::silent`], which get no response.
    unanswered: Vec<SendResponse<Response<Body>>>,
}

/// A kind of request that is refused, with the response.
struct FakeRefusal {
    method: Method,
    path: String,
    status: Value,
    is_once: bool,
}

impl FakeApi {
    /// Starts a server and returns a client of it. The server ends with the client.
    pub(crate) fn start() -> (Client, Self) {
        let (service, api) = Self::service();
        (Client::new(service, "default"), api)
    }

    /// Starts a server and returns its service, to put layers around it.
    pub(crate) fn service() -> (Mock<Request<Body>, Response<Body>>, Self) {
        let (service, handle) = mock::pair();
        let api = Self::default();
        tokio::spawn(api.clone().serve(handle));
        (service, api)
    }

    /// Stores an object, as another client would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.lock().objects.put(path, object);
    }

    /// Returns a stored object.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path)
    }

    /// Deletes an object as another client would.
    pub(crate) fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// Changes an object as another client would.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.object(path).unwrap();
        edit(&mut object);
        self.put(path, object);
    }

    /// Returns the paths of all objects.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.lock().objects.paths()
    }

    /// Returns the requests since the previous call of this method.
    pub(crate) fn requests(&self) -> Vec<FakeRequest> {
        std::mem::take(&mut self.lock().requests)
    }

    /// Returns the writes among [`Self::requests`], in the form `PATCH deployments/demo-edge`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|request| request.method != Method::GET);
        requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    /// Serves these kinds of the Gateway API, by their plural names, in a version.
    pub(crate) fn serve_gateway_api(&self, version: &str, plurals: &[&str]) {
        self.lock().objects.serve_gateway_api(version, plurals);
    }

    /// Begins to delete the definition of a kind of the Gateway API: its objects can still be read.
    pub(crate) fn delete_gateway_kind(&self, plural: &str) {
        self.lock().objects.delete_gateway_kind(plural);
    }

    /// Responds to such requests with an error from now on.
    pub(crate) fn refuse(
        &self,
        method: Method,
        path: &str,
        code: u16,
        reason: &str,
        message: &str,
    ) {
        self.lock().refusals.push(FakeRefusal {
            method,
            path: path.to_owned(),
            status: failure(code, reason, message),
            is_once: false,
        });
    }

    /// Responds to the next such request with an error.
    pub(crate) fn refuse_once(
        &self,
        method: Method,
        path: &str,
        code: u16,
        reason: &str,
        message: &str,
    ) {
        self.refuse(method, path, code, reason, message);
        if let Some(refusal) = self.lock().refusals.last_mut() {
            refusal.is_once = true;
        }
    }

    /// Refuses no request any more.
    pub(crate) fn stop_refusing(&self) {
        self.lock().refusals.clear();
    }

    /// Has from now on an older CustomResourceDefinition, without a field of the status; `None` declares all fields again.
    pub(crate) fn undeclare_status_field(&self, field: Option<&str>) {
        self.lock().objects.undeclare_status_field(field);
    }

    /// Leaves the requests of a path without a response from now on.
    pub(crate) fn never_respond_to(&self, path: &str) {
        self.lock().silent = Some(path.to_owned());
    }

    /// Leaves requests without a response from now on.
    pub(crate) fn stop_responding(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Responds to the held requests, and to all later ones.
    pub(crate) fn respond_again(&self) {
        let held = self.lock().held.take();
        for (request, responder) in held.into_iter().flatten() {
            self.respond(request, responder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, FakeApiState> {
        self.state.lock().unwrap()
    }

    async fn serve(self, mut handle: Handle<Request<Body>, Response<Body>>) {
        while let Some((request, responder)) = handle.next_request().await {
            let request = FakeRequest::receive(request).await;
            self.respond(request, responder);
        }
    }

    fn respond(&self, request: FakeRequest, responder: SendResponse<Response<Body>>) {
        let mut state = self.lock();
        if let Some(held) = &mut state.held {
            held.push((request, responder));
            return;
        }
        if request.is_watch() || state.silent.as_ref() == Some(&request.path) {
            state.requests.push(request);
            state.unanswered.push(responder);
            return;
        }
        let value = state
            .refusal(&request)
            .unwrap_or_else(|| state.objects.handle(&request));
        state.requests.push(request);
        let code = match value["kind"].as_str() {
            Some("Status") => u16::try_from(value["code"].as_u64().unwrap_or(200)).unwrap(),
            _ => 200,
        };
        let body = Body::from(serde_json::to_vec(&value).unwrap());
        responder.send_response(Response::builder().status(code).body(body).unwrap());
    }
}

impl FakeApiState {
    fn refusal(&mut self, request: &FakeRequest) -> Option<Value> {
        let mut refusals = self.refusals.iter();
        let position = refusals
            .position(|refusal| refusal.method == request.method && refusal.path == request.path)?;
        let refusal = self.refusals.get(position)?;
        let status = refusal.status.clone();
        if refusal.is_once {
            self.refusals.remove(position);
        }
        Some(status)
    }
}
