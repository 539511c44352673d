//! Rejected objects, invalid specs and missing references.

use super::*;

#[tokio::test]
async fn forbidden_apply_is_reported_and_does_not_stop_the_others() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        403,
        "Forbidden",
        "not allowed",
    );
    assert_eq!(
        fixture.reconcile().await,
        Action::requeue(REJECTED_INTERVAL)
    );
    assert!(fixture.api.object(ORIGIN).is_some());
    assert_eq!(
        fixture.condition("Ready"),
        "False Forbidden: Service demo-edge: not allowed"
    );
    fixture.api.stop_refusing();
    fixture.reconcile().await;
    assert!(fixture.api.object("services/demo-edge").is_some());
}

#[tokio::test]
async fn policy_or_quota_that_refuses_an_object_is_no_missing_permission() {
    let policy =
        "ValidatingAdmissionPolicy 'team' with binding 'team' denied request: no label team";
    let quota = "exceeded quota: small, requested: count/services=1";
    let fixture = ReconcilerFixture::new(json!({}));
    let path = "services/demo-edge";
    for (code, reason, message, expected) in [
        (422, "Invalid", policy, "AdmissionDenied"),
        (403, "Forbidden", policy, "AdmissionDenied"),
        (403, "Forbidden", quota, "QuotaExceeded"),
    ] {
        fixture
            .api
            .refuse(Method::PATCH, path, code, reason, message);
        fixture.reconcile().await;
        let refused = format!("{expected}: Service demo-edge: {message}");
        assert_eq!(fixture.condition("Ready"), format!("False {refused}"));
        let degraded = fixture.condition("Degraded");
        assert!(
            degraded.starts_with(&format!("True {refused}")),
            "{degraded}"
        );
        fixture.api.stop_refusing();
    }
}

#[tokio::test]
async fn rejection_is_reported_with_the_message_of_the_api_server() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.api.refuse(
        Method::PATCH,
        "services/demo-edge",
        422,
        "Invalid",
        "nodePort: provided port is already allocated",
    );
    fixture.edit_spec(|spec| {
        spec["edges"] = json!({"service": {"type": "NodePort", "nodePorts": {"http": 30880}}})
    });
    fixture.reconcile().await;
    assert_eq!(
        fixture.condition("Ready"),
        "False InvalidSpec: Service demo-edge: nodePort: provided port is already allocated"
    );
    assert!(fixture.condition("EdgesAvailable").starts_with("True"));
}

#[tokio::test]
async fn port_that_was_changed_by_hand_is_restored() {
    let spec = json!({"edges": {"service": {"type": "NodePort"}}});
    let fixture = ReconcilerFixture::settled(spec).await;
    let path = "services/demo-edge";
    fixture.api.edit(path, |service| {
        service["spec"]["ports"][0]["port"] = 1999.into();
        service["spec"]["ports"][0]["nodePort"] = 31999.into();
    });
    let duplicate = "spec.ports[2].name: Duplicate value: \"rtmp\"";
    fixture
        .api
        .refuse_once(Method::PATCH, path, 422, "Invalid", duplicate);
    fixture.reconcile().await;
    let mut requests = fixture.api.requests();
    requests.retain(|request| request.method == Method::PATCH && request.path == path);
    let removal = json!({"spec": {"ports": [{"$patch": "delete", "port": 1999}]}});
    assert_eq!((requests.len(), &requests[1].body), (3, &removal));
    let service = fixture.api.object(path).unwrap();
    let port = &service["spec"]["ports"][0];
    assert_eq!(
        (&port["port"], &port["nodePort"]),
        (&json!(1935), &json!(31999))
    );
    assert!(fixture.condition("Ready").starts_with("True"));
}

#[tokio::test]
async fn failing_webhook_of_one_object_keeps_no_cure_from_the_pods() {
    for (code, is_applied) in [(500, true), (503, false)] {
        let fixture = ReconcilerFixture::settled(json!({})).await;
        let path = "services/demo-edge";
        fixture
            .api
            .refuse(Method::PATCH, path, code, "InternalError", "it fails");
        fixture.edit_spec(|spec| {
            spec["edges"] = json!({"service": {"annotations": {"example.com/a": "b"}}});
            spec["image"] = "media-node:2".into();
        });
        let error = fixture.try_reconcile().await.unwrap_err();
        assert!(error.to_string().contains("Service demo-edge"), "{error}");
        // An API server that is overloaded gets no further request.
        assert_eq!(fixture.image(EDGE) == "media-node:2", is_applied, "{code}");
        fixture.api.stop_refusing();
        fixture.reconcile().await;
        assert_eq!(fixture.image(EDGE), "media-node:2");
        let service = fixture.api.object(path).unwrap();
        assert_eq!(service["metadata"]["annotations"]["example.com/a"], "b");
    }
}

#[tokio::test]
async fn pods_do_not_roll_to_a_configuration_that_is_refused() {
    let changed = json!({"stream": {"lingerSeconds": 3}});
    let other = ReconcilerFixture::settled(changed.clone()).await;
    let config = other.config_path(EDGE);
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let before = fixture.config_path(EDGE);
    let quota = "exceeded quota: small, requested: count/configmaps=1";
    fixture
        .api
        .refuse(Method::PATCH, &config, 403, "Forbidden", quota);
    fixture.edit_spec(|spec| *spec = changed);
    fixture.reconcile().await;
    assert_eq!(fixture.config_path(EDGE), before);
    assert!(fixture.api.object(&before).is_some());
    assert!(
        fixture
            .condition("Ready")
            .starts_with("False QuotaExceeded: ConfigMap")
    );
    fixture.api.stop_refusing();
    fixture.reconcile().await;
    assert_eq!(fixture.config_path(EDGE), config);
}

#[tokio::test]
async fn failure_that_persists_is_reported_until_it_ends() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    let path = "services/demo-edge";
    let message = "failed calling webhook";
    fixture
        .api
        .refuse(Method::PATCH, path, 500, "InternalError", message);
    fixture.edit_spec(|spec| {
        spec["edges"] = json!({"service": {"annotations": {"example.com/a": "b"}}})
    });
    let name = ClusterName::new("media", "demo");
    for count in 1..=4 {
        fixture.try_reconcile().await.unwrap_err();
        assert_eq!(fixture.reconciler.failures.add(&name), count);
        let writes = fixture.api.writes();
        let reported = writes.contains(&format!("PATCH {CLUSTER}/status"));
        // It is reported once.
        assert_eq!(reported, count == 3, "{count}: {writes:?}");
    }
    let failed = format!("ReconcileFailed: failed to apply Service demo-edge: {message}");
    assert_eq!(fixture.condition("Progressing"), format!("False {failed}"));
    assert_eq!(fixture.condition("Degraded"), format!("True {failed}"));
    assert!(fixture.condition("Ready").starts_with("True"));
    let generation = || {
        let cluster = fixture.api.object(CLUSTER).unwrap();
        cluster["status"]["observedGeneration"].as_i64()
    };
    assert_eq!(generation(), Some(1));
    fixture.api.stop_refusing();
    fixture.reconcile().await;
    assert!(
        fixture
            .condition("Progressing")
            .starts_with("False RolloutComplete")
    );
    assert!(fixture.condition("Degraded").starts_with("False"));
    assert_eq!(generation(), Some(2));
}

#[tokio::test]
async fn read_that_keeps_failing_is_reported_until_it_works() {
    for (path, code, reason) in [
        ("pods", 403, "Forbidden"),
        ("services", 500, "InternalError"),
        ("secrets/certificate", 503, "ServiceUnavailable"),
    ] {
        let spec = json!({"tls": {"secretName": "certificate"}});
        let fixture = ReconcilerFixture::new(spec);
        fixture.api.put(
            "secrets/certificate",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certificate"}}),
        );
        fixture.reconcile().await;
        fixture.settle();
        fixture.reconcile().await;
        let ready = fixture.condition("Ready");
        fixture.api.requests();
        fixture
            .api
            .refuse(Method::GET, path, code, reason, "it is broken");
        let name = ClusterName::new("media", "demo");
        for count in 1..=4 {
            let error = fixture.try_reconcile().await.unwrap_err();
            fixture.reconciler.failures.add(&name);
            let writes = fixture.api.writes();
            let expected: &[&str] = match count {
                3 => &["PATCH liveclusters/demo/status", "POST events"],
                _ => &[],
            };
            assert_eq!(writes, expected, "{path} {count}: {error}");
        }
        let progressing = fixture.condition("Progressing");
        let failed = "False ReconcileFailed: failed to ";
        assert!(progressing.starts_with(failed), "{progressing}");
        assert!(progressing.ends_with("it is broken"), "{progressing}");
        let degraded = fixture.condition("Degraded");
        assert_eq!(degraded, progressing.replace("False", "True"));
        assert_eq!(fixture.condition("Ready"), ready);
        let metrics = fixture.reconciler.metrics.render().unwrap();
        let gauge = r#"live_cluster_degraded{name="demo",namespace="media"} 1"#;
        assert!(metrics.contains(gauge), "{metrics}");
        fixture.api.stop_refusing();
        fixture.reconcile().await;
        assert!(fixture.condition("Degraded").starts_with("False"));
    }
}

#[tokio::test]
async fn read_that_fails_from_the_start_is_reported() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture
        .api
        .refuse(Method::GET, "pods", 403, "Forbidden", "not allowed");
    let name = ClusterName::new("media", "demo");
    for _ in 0..3 {
        fixture.try_reconcile().await.unwrap_err();
        fixture.reconciler.failures.add(&name);
    }
    let failed = "ReconcileFailed: failed to list Pod: not allowed";
    assert_eq!(fixture.condition("Ready"), format!("False {failed}"));
    assert_eq!(fixture.condition("Degraded"), format!("True {failed}"));
}

#[tokio::test]
async fn conflict_is_retried() {
    let fixture = ReconcilerFixture::new(json!({}));
    fixture.api.refuse(
        Method::PATCH,
        EDGE,
        409,
        "Conflict",
        "the object has been modified",
    );
    let error = fixture.try_reconcile().await.unwrap_err();
    assert!(
        matches!(&error, ApplyError::Call(call) if call.status().unwrap().is_conflict()),
        "{error}"
    );
}

#[tokio::test]
async fn invalid_spec_changes_no_object() {
    let fixture = ReconcilerFixture::settled(json!({})).await;
    fixture.edit_spec(|spec| spec["edges"] = json!({"podTemplate": {"spce": {}}}));
    fixture.reconcile().await;
    assert_eq!(
        fixture.api.writes(),
        ["PATCH liveclusters/demo/status", "POST events"]
    );
    assert_eq!(
        fixture.condition("Ready"),
        "False InvalidSpec: spec.edges.podTemplate: unknown field spce"
    );
}

#[tokio::test]
async fn missing_secret_is_reported_until_it_exists() {
    let spec = json!({
        "imagePullSecrets": [{"name": "registry"}],
        "tls": {"secretName": "certificate"},
    });
    let fixture = ReconcilerFixture::settled(spec).await;
    assert_eq!(
        fixture.condition("ReferencesResolved"),
        "False SecretNotFound: spec.imagePullSecrets[0]: Secret \"registry\" does not exist; \
         spec.tls.secretName: Secret \"certificate\" does not exist"
    );
    for seconds in [30, 60, 60] {
        let wait = Duration::from_secs(seconds);
        assert_eq!(fixture.reconcile().await, Action::requeue(wait));
    }
    for name in ["registry", "certificate"] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        fixture.api.put(&format!("secrets/{name}"), secret);
    }
    fixture.reconcile().await;
    assert!(fixture.condition("ReferencesResolved").starts_with("True"));
    assert!(fixture.condition("Ready").starts_with("True"));
}
