//! An API server for tests: it stores objects, records requests, and refuses requests on demand.
//!
//! A server-side apply is a deep merge without field ownership, as a merge patch is. A watch yields no events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle, Mock, SendResponse};

/// A handle of the server. Clones share its state.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<FakeApiState>>,
}

#[derive(Default)]
struct FakeApiState {
    objects: BTreeMap<String, Value>,
    requests: Vec<FakeRequest>,
    refusals: Vec<FakeRefusal>,
    /// Plural names of the kinds of the Gateway API that each version serves.
    gateway_api: BTreeMap<String, Vec<String>>,
    /// Requests without a response, while the server does not respond.
    held: Option<Vec<(FakeRequest, SendResponse<Response<Body>>)>>,
    /// Watches, which get no response.
    watches: Vec<SendResponse<Response<Body>>>,
    version: u64,
}

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
    pub(crate) fn is_watch(&self) -> bool {
        self.query.split('&').any(|pair| pair == "watch=true")
    }
}

/// A kind of request that is refused, with the response.
struct FakeRefusal {
    method: Method,
    path: String,
    status: Value,
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

    /// Stores an object.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", state.version).into();
        }
        state.objects.insert(path.to_owned(), object);
    }

    /// Returns a stored object.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
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
        self.lock().objects.keys().cloned().collect()
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
        let plurals = plurals.iter().map(|plural| (*plural).to_owned()).collect();
        self.lock().gateway_api.insert(version.to_owned(), plurals);
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
        });
    }

    /// Refuses no request any more.
    pub(crate) fn stop_refusing(&self) {
        self.lock().refusals.clear();
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
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let request = FakeRequest {
                method: parts.method,
                path: short_path(parts.uri.path()),
                query: parts.uri.query().unwrap_or("").to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            self.respond(request, responder);
        }
    }

    fn respond(&self, request: FakeRequest, responder: SendResponse<Response<Body>>) {
        let mut state = self.lock();
        if let Some(held) = &mut state.held {
            held.push((request, responder));
            return;
        }
        if request.is_watch() {
            state.requests.push(request);
            state.watches.push(responder);
            return;
        }
        let value = state
            .refusal(&request)
            .unwrap_or_else(|| state.handle(&request));
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
    fn refusal(&self, request: &FakeRequest) -> Option<Value> {
        self.refusals
            .iter()
            .find(|refusal| refusal.method == request.method && refusal.path == request.path)
            .map(|refusal| refusal.status.clone())
    }

    fn handle(&mut self, request: &FakeRequest) -> Value {
        let parts: Vec<_> = request.path.split('/').collect();
        let object = parts.iter().take(2).copied().collect::<Vec<_>>().join("/");
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["jwks"]) => json!({"keys": [{"kid": "a", "kty": "RSA"}]}),
            ("GET", [version]) if version.starts_with("v1") => self.gateway_resources(version),
            ("GET" | "PATCH", [plural, ..]) if !self.serves(plural) => page_not_found(),
            ("GET", [plural]) => self.list(plural, &request.query),
            ("GET", _) => self.objects.get(&object).cloned().unwrap_or_else(not_found),
            ("POST", _) => self.create(request),
            ("PUT", _) => self.replace(&object, request),
            ("DELETE", _) => self.delete(&object, request),
            ("PATCH", [_, _, "scale"]) => self.scale(&object, request),
            ("PATCH", [_, _, "status"]) => self.status(&object, request),
            ("PATCH", _) => self.apply(&object, request),
            other => panic!("unexpected request {other:?}"),
        }
    }

    /// Returns whether the kind is not one of the Gateway API, or is served.
    fn serves(&self, plural: &str) -> bool {
        let is_optional = plural == "gateways" || plural.ends_with("routes");
        let mut served = self.gateway_api.values().flatten();
        !is_optional || served.any(|served| served == plural)
    }

    fn gateway_resources(&self, version: &str) -> Value {
        let Some(plurals) = self.gateway_api.get(version) else {
            return page_not_found();
        };
        let resources = plurals.iter();
        let resources = resources.map(|plural| {
            json!({"name": plural, "singularName": "", "namespaced": true, "kind": plural, "verbs": []})
        });
        json!({
            "apiVersion": "v1", "kind": "APIResourceList",
            "groupVersion": format!("gateway.networking.k8s.io/{version}"),
            "resources": resources.collect::<Vec<_>>()
        })
    }

    fn list(&self, plural: &str, query: &str) -> Value {
        let selector = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("labelSelector="))
            .unwrap_or("")
            .replace("%2F", "/")
            .replace("%3D", "=")
            .replace("%2C", ",");
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|(path, object)| {
                path.starts_with(&format!("{plural}/"))
                    && selector
                        .split(',')
                        .filter(|pair| !pair.is_empty())
                        .all(|pair| {
                            let (key, value) = pair.split_once('=').unwrap();
                            object["metadata"]["labels"][key] == value
                        })
            })
            .map(|(_, object)| object.clone())
            .collect();
        // A watch starts at the version of a list.
        let metadata = json!({"resourceVersion": self.version.to_string()});
        json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})
    }

    fn create(&mut self, request: &FakeRequest) -> Value {
        let name = request.body["metadata"]["name"]
            .as_str()
            .unwrap_or("unnamed");
        let path = format!("{}/{name}", request.path);
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", "the object already exists");
        }
        self.store(&path, request.body.clone())
    }

    fn replace(&mut self, path: &str, request: &FakeRequest) -> Value {
        let Some(old) = self.objects.get(path) else {
            return not_found();
        };
        if old["metadata"]["resourceVersion"] != request.body["metadata"]["resourceVersion"] {
            return failure(409, "Conflict", "the object has been modified");
        }
        self.store(path, request.body.clone())
    }

    fn delete(&mut self, path: &str, request: &FakeRequest) -> Value {
        let Some(old) = self.objects.get(path) else {
            return not_found();
        };
        let wanted = &request.body["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != old["metadata"]["uid"] {
            return failure(
                409,
                "Conflict",
                "the UID in the precondition does not match",
            );
        }
        self.objects.remove(path);
        json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "code": 200})
    }

    fn scale(&mut self, path: &str, request: &FakeRequest) -> Value {
        let mut object = self.objects[path].clone();
        object["spec"]["replicas"] = request.body["spec"]["replicas"].clone();
        let object = self.store(path, object);
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": object["metadata"]["name"]},
            "spec": {"replicas": object["spec"]["replicas"]}
        })
    }

    /// A merge patch names no kind.
    fn status(&mut self, path: &str, request: &FakeRequest) -> Value {
        let mut object = self.objects[path].clone();
        let version = &request.body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict", "the object has been modified");
        }
        if request.body["kind"].is_null() {
            merge(&mut object["status"], &request.body["status"]);
        } else {
            object["status"] = request.body["status"].clone();
        }
        self.store(path, object)
    }

    fn apply(&mut self, path: &str, request: &FakeRequest) -> Value {
        let mut object = self.objects.get(path).cloned().unwrap_or_else(|| json!({}));
        merge(&mut object, &request.body);
        if object["kind"] == "Deployment" && object["spec"]["replicas"].is_null() {
            object["spec"]["replicas"] = 1.into();
        }
        let manager = request
            .query
            .split('&')
            .find_map(|pair| pair.strip_prefix("fieldManager="));
        object["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Apply"}]);
        self.store(path, object)
    }

    /// Stores an object: with a new version if it changed, and a new generation if its spec did.
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        let old = self.objects.get(path).cloned().unwrap_or_default();
        if object == old {
            return old;
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("uid-{}", self.version).into();
        }
        if object["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

fn merge(object: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in change {
        if !value.is_null() {
            merge(&mut object[key], value);
        } else if let Value::Object(object) = object {
            object.remove(key);
        }
    }
}

/// Returns `deployments/demo-edge` for `/apis/apps/v1/namespaces/media/deployments/demo-edge`.
fn short_path(path: &str) -> String {
    match path.split_once("/namespaces/") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, rest)| rest).to_owned(),
        None => path.rsplit('/').next().unwrap_or("").to_owned(),
    }
}

fn not_found() -> Value {
    failure(404, "NotFound", "the object does not exist")
}

/// What kube makes of the API server's answer about a kind that it does not serve, which is plain text.
fn page_not_found() -> Value {
    failure(404, "Failed to parse error data", "404 page not found")
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message
    })
}
