//! The objects of the API server for tests, and what each request does to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::request::FakeRequest;

/// The objects by their paths, such as `deployments/demo-edge`.
#[derive(Default)]
pub(super) struct FakeObjects {
    objects: BTreeMap<String, Value>,
    /// Plural names of the kinds of the Gateway API that each version serves.
    gateway_api: BTreeMap<String, Vec<String>>,
    /// Those of them whose definition is being deleted.
    deleted_kinds: Vec<String>,
    /// A field of the status that the CustomResourceDefinition does not have.
    undeclared: Option<String>,
    version: u64,
}

impl FakeObjects {
    /// Stores an object, as another client would.
    pub(super) fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object);
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.objects.get(path).cloned()
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.objects.remove(path);
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// Serves these kinds of the Gateway API, by their plural names, in a version.
    pub(super) fn serve_gateway_api(&mut self, version: &str, plurals: &[&str]) {
        let plurals = plurals.iter().map(|plural| (*plural).to_owned()).collect();
        self.gateway_api.insert(version.to_owned(), plurals);
    }

    /// Begins to delete the definition of a kind of the Gateway API.
    pub(super) fn delete_gateway_kind(&mut self, plural: &str) {
        self.deleted_kinds.push(plural.to_owned());
    }

    /// Has a CustomResourceDefinition without a field of the status, or with all fields.
    pub(super) fn undeclare_status_field(&mut self, field: Option<&str>) {
        self.undeclared = field.map(str::to_owned);
    }

    /// Carries out a request and returns the body of the response.
    pub(super) fn handle(&mut self, request: &FakeRequest) -> Value {
        let parts: Vec<_> = request.path.split('/').collect();
        let object = parts.iter().take(2).copied().collect::<Vec<_>>().join("/");
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["jwks"]) => self.keys(),
            ("GET", [version]) if version.starts_with("v1") => self.gateway_resources(version),
            ("GET" | "PATCH", [plural, ..]) if !self.serves(plural) => page_not_found(),
            ("GET", [plural]) => self.list(plural, &request.query),
            ("GET", _) => self.objects.get(&object).cloned().unwrap_or_else(not_found),
            ("POST", [_, _, "token"]) => self.token(request),
            ("POST", _) => self.create(request),
            ("PUT", _) => self.replace(&object, request),
            ("DELETE", _) => self.delete(&object, request),
            ("PATCH", [_, _, "scale"]) => self.scale(&object, request),
            ("PATCH", [_, _, "status"]) => self.status(&object, request),
            ("PATCH", _) => self.apply(&object, request),
            other => panic!("unexpected request {other:?}"),
        }
    }

    /// Returns the public keys of ServiceAccount tokens.
    fn keys(&self) -> Value {
        let keys = self.objects.get("jwks").cloned();
        keys.unwrap_or_else(|| json!({"keys": [{"kid": "a", "kty": "RSA"}]}))
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
            let verbs = if self.deleted_kinds.contains(plural) {
                json!(["delete", "get", "list", "watch"])
            } else {
                json!(["create", "delete", "get", "list", "patch", "watch"])
            };
            json!({
                "name": plural, "singularName": "", "namespaced": true, "kind": plural,
                "verbs": verbs
            })
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

    fn token(&mut self, request: &FakeRequest) -> Value {
        self.version += 1;
        let mut object = request.body.clone();
        object["status"] = json!({
            "token": format!("token.{}", self.version), "expirationTimestamp": "2030-01-01T00:00:00Z"
        });
        object
    }

    fn create(&mut self, request: &FakeRequest) -> Value {
        let mut object = request.body.clone();
        let metadata = &mut object["metadata"];
        if let Some(prefix) = metadata["generateName"].as_str() {
            metadata["name"] = format!("{prefix}{}", self.version).into();
        }
        let name = metadata["name"].as_str().unwrap_or("unnamed");
        let path = format!("{}/{name}", request.path);
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", "the object already exists");
        }
        self.store(&path, object)
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
        let is_apply = !request.body["kind"].is_null();
        if is_apply {
            object["status"] = request.body["status"].clone();
        } else {
            merge(&mut object["status"], &request.body["status"]);
        }
        if let (Some(field), Some(status)) = (&self.undeclared, object["status"].as_object_mut())
            && status.remove(field).is_some()
            && is_apply
        {
            let message = format!(
                "failed to create typed patch object: .status.{field}: field not declared in schema"
            );
            return failure(500, "InternalError", &message);
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

fn not_found() -> Value {
    failure(404, "NotFound", "the object does not exist")
}

/// What kube makes of the API server's answer about a kind that it does not serve, which is plain text.
fn page_not_found() -> Value {
    failure(404, "Failed to parse error data", "404 page not found")
}

pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message
    })
}
