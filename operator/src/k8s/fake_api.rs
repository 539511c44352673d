//! An API server for tests: keeps objects, writes down every request, refuses what it is told to refuse.
//!
//! A server-side apply is a deep merge here; who owns which field is the real server's business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle, SendResponse};

/// The server's side of a client.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    requests: Vec<Call>,
    refusals: Vec<Refusal>,
    version: u64,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Such as `deployments/demo-edge/scale`.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// What is refused, and how.
struct Refusal {
    method: Method,
    path: String,
    status: Value,
}

impl FakeApi {
    /// A client and the server that it talks to. It ends with the client.
    pub(crate) fn start() -> (Client, Self) {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let api = Self::default();
        tokio::spawn(api.clone().serve(handle));
        (Client::new(service, "default"), api)
    }

    /// Puts an object in.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", state.version).into();
        }
        state.objects.insert(path.to_owned(), object);
    }

    /// An object as it is.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.object(path).unwrap();
        edit(&mut object);
        self.put(path, object);
    }

    /// Every object's path.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// The requests since the last time this was called.
    pub(crate) fn requests(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().requests)
    }

    /// The requests that write, in the form `PATCH deployments/demo-edge`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|request| request.method != Method::GET);
        requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    /// Answers such requests with an error from now on.
    pub(crate) fn refuse(
        &self,
        method: Method,
        path: &str,
        code: u16,
        reason: &str,
        message: &str,
    ) {
        self.lock().refusals.push(Refusal {
            method,
            path: path.to_owned(),
            status: failure(code, reason, message),
        });
    }

    /// Takes all refusals back.
    pub(crate) fn relent(&self) {
        self.lock().refusals.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(self, mut handle: Handle<Request<Body>, Response<Body>>) {
        while let Some((request, answer)) = handle.next_request().await {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let call = Call {
                method: head.method,
                path: short(head.uri.path()),
                query: head.uri.query().unwrap_or("").to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            self.answer(call, answer);
        }
    }

    fn answer(&self, call: Call, answer: SendResponse<Response<Body>>) {
        let mut state = self.lock();
        let value = state.refusal(&call).unwrap_or_else(|| state.act(&call));
        state.requests.push(call);
        let code = match value["kind"].as_str() {
            Some("Status") => u16::try_from(value["code"].as_u64().unwrap_or(200)).unwrap(),
            _ => 200,
        };
        let body = Body::from(serde_json::to_vec(&value).unwrap());
        answer.send_response(Response::builder().status(code).body(body).unwrap());
    }
}

impl State {
    fn refusal(&self, call: &Call) -> Option<Value> {
        self.refusals
            .iter()
            .find(|refusal| refusal.method == call.method && refusal.path == call.path)
            .map(|refusal| refusal.status.clone())
    }

    fn act(&mut self, call: &Call) -> Value {
        let parts: Vec<_> = call.path.split('/').collect();
        let object = parts.iter().take(2).copied().collect::<Vec<_>>().join("/");
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", [plural]) => self.list(plural, &call.query),
            ("GET", _) => self.objects.get(&object).cloned().unwrap_or_else(missing),
            ("POST", _) => self.create(call),
            ("PUT", _) => self.replace(&object, call),
            ("DELETE", _) => self.delete(&object, call),
            ("PATCH", [_, _, "scale"]) => self.scale(&object, call),
            ("PATCH", [_, _, "status"]) => self.status(&object, call),
            ("PATCH", _) => self.apply(&object, call),
            other => panic!("unexpected request {other:?}"),
        }
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
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    }

    fn create(&mut self, call: &Call) -> Value {
        let name = call.body["metadata"]["name"].as_str().unwrap_or("unnamed");
        let path = format!("{}/{name}", call.path);
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", "it exists already");
        }
        self.store(&path, call.body.clone())
    }

    fn replace(&mut self, path: &str, call: &Call) -> Value {
        let Some(old) = self.objects.get(path) else {
            return missing();
        };
        if old["metadata"]["resourceVersion"] != call.body["metadata"]["resourceVersion"] {
            return failure(409, "Conflict", "the object has been modified");
        }
        self.store(path, call.body.clone())
    }

    fn delete(&mut self, path: &str, call: &Call) -> Value {
        let Some(old) = self.objects.get(path) else {
            return missing();
        };
        let wanted = &call.body["preconditions"]["uid"];
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

    fn scale(&mut self, path: &str, call: &Call) -> Value {
        let mut object = self.objects[path].clone();
        object["spec"]["replicas"] = call.body["spec"]["replicas"].clone();
        let object = self.store(path, object);
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": object["metadata"]["name"]},
            "spec": {"replicas": object["spec"]["replicas"]}
        })
    }

    fn status(&mut self, path: &str, call: &Call) -> Value {
        let mut object = self.objects[path].clone();
        object["status"] = call.body["status"].clone();
        self.store(path, object)
    }

    fn apply(&mut self, path: &str, call: &Call) -> Value {
        let mut object = self.objects.get(path).cloned().unwrap_or_else(|| json!({}));
        merge(&mut object, &call.body);
        if object["kind"] == "Deployment" && object["spec"]["replicas"].is_null() {
            object["spec"]["replicas"] = 1.into();
        }
        let manager = call
            .query
            .split('&')
            .find_map(|pair| pair.strip_prefix("fieldManager="));
        object["metadata"]["managedFields"] = json!([{"manager": manager, "operation": "Apply"}]);
        self.store(path, object)
    }

    /// A new version when something changed, a new generation when the spec did.
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
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

/// `/apis/apps/v1/namespaces/media/deployments/demo-edge` is `deployments/demo-edge`.
fn short(path: &str) -> String {
    match path.split_once("/namespaces/") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, rest)| rest).to_owned(),
        None => path.rsplit('/').next().unwrap_or("").to_owned(),
    }
}

fn missing() -> Value {
    failure(404, "NotFound", "it does not exist")
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message
    })
}
