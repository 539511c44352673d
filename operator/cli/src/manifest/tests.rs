//! Manifests that are accepted, and the error for each that is not.

use super::*;

const HEAD: &str = "apiVersion: livecluster.dev/v1alpha1\nkind: LiveCluster\n";

fn with_spec(spec: &str) -> String {
    format!("{HEAD}metadata: {{name: demo}}\nspec: {spec}\n")
}

fn refusal(text: &str) -> String {
    let error = parse(text).unwrap_err();
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn empty_spec_is_one_origin_and_two_edges() {
    let cluster = parse(&with_spec("{}")).unwrap();
    assert_eq!(
        (cluster.spec.origins.replicas, cluster.spec.edges.replicas),
        (1, 2)
    );
}

#[test]
fn field_without_a_value_has_its_default() {
    let text = format!(
        "---\n# a comment\n{HEAD}metadata:\n  name: demo\n  labels:\nspec:\n  edges:\n  origins: {{replicas: 3}}\n---\n"
    );
    let cluster = parse(&text).unwrap();
    assert_eq!(
        (cluster.spec.origins.replicas, cluster.spec.edges.replicas),
        (3, 2)
    );
}

#[test]
fn whole_number_may_have_a_decimal_point() {
    let cluster = parse(&with_spec("{edges: {replicas: 2.0}}")).unwrap();
    assert_eq!(cluster.spec.edges.replicas, 2);
    let error = refusal(&with_spec("{edges: {replicas: 2.5}}"));
    assert!(
        error.contains("spec.edges.replicas: 2.5 is not allowed"),
        "{error}"
    );
}

#[test]
fn exported_resource_is_accepted_with_its_status() {
    let text = format!(
        "{HEAD}metadata: {{name: demo, namespace: live, uid: u, resourceVersion: \"7\", generation: 2, \
         creationTimestamp: \"2026-11-22T06:00:00Z\", annotations: {{a.b/c: d}}}}\nspec: {{}}\nstatus: {{nonsense: 1}}\n"
    );
    assert_eq!(parse(&text).unwrap().name.to_string(), "live/demo");
}

#[test]
fn unknown_field_is_named_with_the_fields_that_exist() {
    assert_eq!(
        refusal(&with_spec("{stream: {lingerSecond: 3}}")),
        "not a valid LiveCluster: spec.stream.lingerSecond: unknown field, the fields here are continuitySeconds, \
         duplicatePublish, failoverAfterMilliseconds, lingerSeconds, playWaitSeconds, publishIdleTimeoutSeconds, \
         pulseCpuPercent, pulseMaxMilliseconds, pulseMinMilliseconds, repeatLastKeyframe, windowMaxMebibytes, windowSeconds"
    );
    let error = refusal(&format!("{HEAD}metadata: {{nam: demo}}\nspec: {{}}"));
    assert!(error.contains("metadata.nam: unknown field"), "{error}");
    let error = refusal(&format!(
        "{HEAD}metadata: {{name: demo}}\nspec: {{}}\nspecs: 1"
    ));
    assert!(
        error.contains(
            ": specs: unknown field, the fields here are apiVersion, kind, metadata, spec"
        ),
        "{error}"
    );
}

#[test]
fn number_out_of_range_is_named_with_its_range() {
    assert_eq!(
        refusal(&with_spec("{edges: {replicas: -1}}")),
        "not a valid LiveCluster: spec.edges.replicas: -1 is not allowed, must be a whole number: 0 to 1000"
    );
    assert_eq!(
        refusal(&with_spec("{origins: {replicas: two}}")),
        "not a valid LiveCluster: spec.origins.replicas: \"two\" is not allowed, must be a whole number: 0 to 64"
    );
}

#[test]
fn number_or_percentage_is_refused_beyond_its_range() {
    for count in ["0", "1000", "25%", "100%"] {
        let spec =
            format!("{{edges: {{rollingUpdate: {{maxSurge: {count}, maxUnavailable: 1}}}}}}");
        parse(&with_spec(&spec)).unwrap();
    }
    for count in ["1001", "-1", "101%", "half"] {
        let spec =
            format!("{{edges: {{rollingUpdate: {{maxSurge: {count}, maxUnavailable: 1}}}}}}");
        let error = refusal(&with_spec(&spec));
        assert!(
            error.contains(
                "is not allowed, must be a whole number: 0 to 1000, or a percentage such as 25%"
            ),
            "{error}"
        );
    }
}

#[test]
fn quantity_that_kubernetes_does_not_read_is_refused_with_examples() {
    let resources = |memory: &str| {
        with_spec(&format!(
            "{{edges: {{resources: {{limits: {{memory: {memory}}}}}}}}}"
        ))
    };
    for quantity in ["512Mi", "1", "\"0.5\"", "100m", "1e3"] {
        parse(&resources(quantity)).unwrap();
    }
    assert_eq!(
        refusal(&resources("512 MB")),
        "not a valid LiveCluster: spec.edges.resources.limits.memory: \"512 MB\" is not allowed, must be a whole number, or \
         a quantity such as 512Mi, 100m or \"0.5\""
    );
}

#[test]
fn network_and_time_that_do_not_exist_are_refused() {
    let network =
        |text: &str| with_spec(&format!("{{auth: {{play: {{allowCidrs: ['{text}']}}}}}}"));
    let time = |text: &str| {
        let event = format!("{{startsAt: '{text}', duration: 1h, viewers: 1}}");
        let autoscaling = format!("{{maxReplicas: 9, targetViewers: 9, events: [{event}]}}");
        with_spec(&format!("{{edges: {{autoscaling: {autoscaling}}}}}"))
    };
    for text in ["10.0.0.1/8", "0.0.0.0/0", "2001:db8::/128"] {
        parse(&network(text)).unwrap();
    }
    for text in [
        "10.0.0.0/33",
        "300.0.0.0/8",
        "2001:db8::/129",
        "10.0.0.0",
        "1:2/3",
    ] {
        let error = refusal(&network(text));
        assert!(
            error.contains(&format!("\"{text}\" is not allowed")),
            "{error}"
        );
    }
    for text in ["2028-02-29T20:00:00Z", "2027-01-31T21:00:00.5+01:00"] {
        parse(&time(text)).unwrap();
    }
    for text in [
        "2027-02-29T20:00:00Z",
        "2027-04-31T20:00:00Z",
        "2027-01-31",
        "2027-01-31T20:00:00",
    ] {
        let error = refusal(&time(text));
        assert!(
            error.contains("a time such as 2027-01-31T20:00:00Z"),
            "{error}"
        );
    }
}

#[test]
fn value_that_is_no_choice_is_named_with_all_choices() {
    assert_eq!(
        refusal(&with_spec("{edges: {service: {type: Nodeport}}}")),
        "not a valid LiveCluster: spec.edges.service.type: \"Nodeport\" is not allowed, must be one of ClusterIP, \
         NodePort, LoadBalancer"
    );
}

#[test]
fn item_of_a_list_is_named_by_its_index() {
    assert_eq!(
        refusal(&with_spec("{imagePullSecrets: [{name: a}, {}]}")),
        "not a valid LiveCluster: spec.imagePullSecrets[1].name: missing"
    );
    let error = refusal(&with_spec("{vhosts: [ok.example, 'not ok']}"));
    assert!(
        error.ends_with(
            "spec.vhosts[1]: \"not ok\" is not allowed, must be a text of 1 to 253 characters: a host name such as live.example.com"
        ),
        "{error}"
    );
}

#[test]
fn several_errors_are_listed_one_on_each_line() {
    let error = refusal(&with_spec(
        "{edges: {replicas: -1, sevice: {}}, paused: maybe}",
    ));
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn rules_of_the_api_server_are_applied() {
    let error = refusal(&with_spec("{edges: {service: {nodePorts: {http: 30080}}}}"));
    assert!(error.contains("nodePorts needs type NodePort"), "{error}");
    let error = refusal(&format!("{HEAD}metadata: {{name: Demo}}\nspec: {{}}"));
    assert!(
        error.contains("metadata.name must be lower case"),
        "{error}"
    );
}

#[test]
fn name_and_spec_are_required() {
    assert_eq!(
        refusal(&format!("{HEAD}spec: {{}}")),
        "not a valid LiveCluster: metadata.name: missing, must be a name such as http-flv"
    );
    assert_eq!(
        refusal(&format!("{HEAD}metadata: {{name: demo}}")),
        "not a valid LiveCluster: spec: missing"
    );
}

#[test]
fn other_resource_is_named() {
    assert_eq!(
        refusal("apiVersion: v1\nkind: Pod\n"),
        "apiVersion: \"v1\", must be livecluster.dev/v1alpha1"
    );
    assert_eq!(
        refusal("apiVersion: livecluster.dev/v1alpha1\nkind: Livecluster\n"),
        "kind: \"Livecluster\", must be LiveCluster"
    );
    assert_eq!(
        refusal("just a line"),
        "apiVersion: missing, must be livecluster.dev/v1alpha1"
    );
}

#[test]
fn exactly_one_document_is_accepted() {
    let one = with_spec("{}");
    assert_eq!(
        refusal(&format!("{one}---\n{one}")),
        "2 documents found, exactly one LiveCluster is allowed"
    );
    assert_eq!(
        refusal("# nothing\n"),
        "0 documents found, exactly one LiveCluster is allowed"
    );
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_line() {
    let error = refusal("apiVersion: [\n");
    assert!(
        error.starts_with("not YAML: ") && error.contains("line"),
        "{error}"
    );
    let error = refusal(&with_spec("{edges: {replicas: 1, replicas: 2}}"));
    assert!(error.contains("duplicate"), "{error}");
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/examples"));
    let mut found = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        found += 1;
    }
    assert!(found >= 2);
}

#[test]
fn log_level_is_a_level_or_a_filter() {
    for level in [
        "info",
        "off",
        "info,media_node::relay=debug",
        "media_node=trace,warn",
    ] {
        parse(&with_spec(&format!("{{logs: {{level: \"{level}\"}}}}"))).unwrap();
    }
    for level in ["LOUD", "info,", "info,media_node=LOUD", "media_node"] {
        let error = refusal(&with_spec(&format!("{{logs: {{level: \"{level}\"}}}}")));
        assert!(
            error.contains("spec.logs.level") && error.contains("is not allowed"),
            "{error}"
        );
    }
}
