//! A newer CustomResourceDefinition, with a field and a value that the operator does not know: it ignores the field, and says
//! which value it cannot read, while it reconciles everything else.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::cluster::Namespace;
use crate::process::{command, finish, run as run_line};
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let small = json!({"edges": {"replicas": 1}});
    namespace.apply_ready("demo", small).await?;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    namespace.repaired_by(|_| restore_definition());
    patch_definition(&json!([
        {"op": "add", "path": field(), "value": schema},
        {"op": "add", "path": value(), "value": "WhenNewer"},
    ]))
    .await?;
    newer(&namespace).await
}

async fn newer(namespace: &Namespace) -> Result<()> {
    namespace.say("a field that the operator does not know");
    let served = "the API server serves the newer definition";
    eventually(served, DEADLINE, || async {
        let newer = json!({"spec": {"newerField": {"nested": [1]}}});
        namespace.kubectl_patch("lc/demo", &newer).await?;
        let line = "get lc demo -o jsonpath={.spec.newerField.nested}";
        let kept = namespace.kubectl(line).await?;
        ensure!(kept == "[1]", "the field is dropped: {kept:?}");
        Ok(())
    })
    .await?;
    namespace.ready("demo").await?;
    namespace.assert_operator_works("demo", "newer").await?;

    namespace.say("a value that it does not know");
    let before: Deployment = namespace.get("demo-edge").await?;
    let newer = json!({"imagePullPolicy": "WhenNewer", "stream": {"lingerSeconds": 11}});
    namespace
        .kubectl_patch("lc/demo", &json!({"spec": newer}))
        .await?;
    for (line, expected) in [
        (READY, "UnreadableSpec"),
        (READY, "imagePullPolicy"),
        (
            "get events -o name --field-selector reason=UnreadableSpec",
            "demo",
        ),
    ] {
        eventually(expected, DEADLINE, || async {
            let seen = namespace.kubectl(line).await?;
            ensure!(seen.contains(expected), "{line}: {seen}");
            Ok(())
        })
        .await?;
    }
    let small = json!({"edges": {"replicas": 0}});
    namespace.apply_ready("beside", small).await?;
    let after: Deployment = namespace.get("demo-edge").await?;
    let same = before.metadata.generation == after.metadata.generation;
    ensure!(same, "Deployment demo-edge has changed");

    namespace.say("and one that it knows again");
    let known = json!({"spec": {"imagePullPolicy": "IfNotPresent", "newerField": null}});
    namespace.kubectl_patch("lc/demo", &known).await?;
    namespace.ready("demo").await.map(drop)
}

/// Gives the definition back that the operator knows, if it has another one.
async fn restore_definition() -> Result<()> {
    let definition = run_line(&format!("kubectl get {DEFINITION} -o json")).await?;
    if !definition.contains(FIELD) {
        return Ok(());
    }
    patch_definition(&json!([
        {"op": "remove", "path": field()},
        {"op": "remove", "path": value()},
    ]))
    .await
}

fn field() -> String {
    format!("{SPEC}/{FIELD}")
}

fn value() -> String {
    format!("{SPEC}/imagePullPolicy/enum/3")
}

async fn patch_definition(patch: &Value) -> Result<()> {
    let mut patched = command(&format!("kubectl patch {DEFINITION} --type=json -p"));
    let patched = finish(patched.arg(patch.to_string()), "");
    patched.await?.success().map(drop)
}

/// Prints the condition Ready. The LiveCluster has values that this program cannot read either.
const READY: &str = r#"get lc demo -o jsonpath={.status.conditions[?(@.type=="Ready")]}"#;

const DEFINITION: &str = "crd/liveclusters.livecluster.dev";

/// A field that the operator does not know.
const FIELD: &str = "newerField";

/// The fields of the spec in the definition.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
