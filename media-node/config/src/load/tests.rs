//! Configurations that are accepted, and those that are rejected with their field.

use super::*;

#[test]
fn empty_file_is_the_default_configuration() {
    assert_eq!(parse("").unwrap(), NodeConfig::default());
}

#[test]
fn rendered_configuration_is_read_back() {
    let mut config = NodeConfig {
        role: crate::Role::Edge,
        ..NodeConfig::default()
    };
    config.origins.service = Some("demo-origin-headless.live.svc".to_owned());
    config.stream.linger_seconds = 3;
    assert_eq!(parse(&render(&config).unwrap()).unwrap(), config);
}

#[test]
fn only_changes_are_rendered_and_read_back() {
    let mut config = NodeConfig {
        vhosts: vec!["a.example".to_owned()],
        ..NodeConfig::default()
    };
    config.limits.max_streams = 7;
    let text = render_changes(&config).unwrap();
    assert_eq!(text, "vhosts:\n- a.example\nlimits:\n  maxStreams: 7\n");
    assert_eq!(parse(&text).unwrap(), config);
    assert_eq!(
        parse(&render_changes(&NodeConfig::default()).unwrap()).unwrap(),
        NodeConfig::default()
    );
}

#[test]
fn unknown_field_is_named() {
    let error = parse("stream: {lingerSecond: 3}").unwrap_err().to_string();
    assert!(
        error.contains("lingerSecond") && error.contains("lingerSeconds"),
        "{error}"
    );
}

#[test]
fn number_out_of_range_is_named_with_its_range() {
    let error = parse("limits: {maxStreams: 0}").unwrap_err().to_string();
    assert_eq!(
        error,
        "limits.maxStreams: 0 is not allowed, choose 1 to 100000"
    );
    let error = parse("limits: {maxMediaMebibytes: 8}").unwrap_err();
    let range = "limits.maxMediaMebibytes: 8 is not allowed, choose 16 to 1048576";
    assert_eq!(error.to_string(), range);
}

#[test]
fn log_level_is_a_level_or_a_filter() {
    let error = |level: &str| parse(&format!("log: {{level: '{level}'}}")).err();
    for level in [
        "off",
        "trace",
        "info,media_node::relay=debug",
        "a=off,b=warn",
    ] {
        assert!(error(level).is_none(), "{level}");
    }
    for level in [
        "",
        "LOUD",
        "info,",
        "media_node",
        "a=b",
        "=info",
        "a b=info",
        "a=info=debug",
    ] {
        let error = error(level).expect(level).to_string();
        assert!(error.starts_with("log.level: choose off, "), "{error}");
    }
}

#[test]
fn access_settings_are_read_strictly() {
    let text = "auth: {publish: {allowCidrs: [10.0.0.0/8], keys: {directory: /keys}, \
                signedUrls: {directory: /urls, scheme: tencent, validitySeconds: 60}, \
                jwt: {jwksFile: /jwks.json, audiences: [a]}, hook: {url: 'http://hook/'}}}";
    let config = parse(text).unwrap();
    assert_eq!(parse(&render_changes(&config).unwrap()).unwrap(), config);
    assert!(config.auth.publish.is_protected() && !config.auth.play.is_protected());
    for (wrong, named) in [
        ("publish: {key: {directory: /keys}}", "key"),
        (
            "publish: {signedUrls: {directory: /urls, schema: tencent}}",
            "schema",
        ),
        (
            "publish: {jwt: {jwksFile: /j, audiences: [a], audience: b}}",
            "audience",
        ),
        (
            "play: {jwt: {audiences: [a]}}",
            "auth.play.jwt: give either",
        ),
        (
            "play: {jwt: {jwksFile: /j, audiences: []}}",
            "must not be empty",
        ),
        (
            "play: {hook: {url: 'http://h', timeoutSeconds: 0}}",
            "auth.play.hook.timeoutSeconds",
        ),
    ] {
        let error = parse(&format!("auth: {{{wrong}}}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{wrong}: {error}");
    }
}

#[test]
fn ports_without_tls_are_closed_by_null() {
    let text = "listen:\n  rtmp: null\n  http: null\ntls:\n  certificate: /tls/tls.crt\n  key: /tls/tls.key\n";
    let config = parse(text).unwrap();
    assert_eq!((config.listen.rtmp, config.listen.http), (None, None));
    assert_eq!(config.listen.rtmps.unwrap().port(), 1936);
    assert_eq!(render_changes(&config).unwrap(), text);
}

#[test]
fn ports_that_cannot_work_are_refused() {
    for (text, named) in [
        (
            "listen: {rtmp: null, http: null}",
            "all ports for clients are closed",
        ),
        ("listen: {https: '[::]:443'}", "need a certificate"),
        ("tls: {certificate: /tls/tls.crt}", "missing field `key`"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn ports_of_one_address_are_refused() {
    let tls = "tls: {certificate: /tls/tls.crt, key: /tls/tls.key}";
    let secret = "identity: {secretFile: /secret}";
    let refused = |fields: &str| {
        parse(&format!("{{{fields}}}"))
            .err()
            .map(|it| it.to_string())
    };
    for (fields, named) in [
        (
            "listen: {rtmp: '[::]:9000', http: '0.0.0.0:9000'}",
            "rtmp and listen.http: both are port 9000",
        ),
        ("listen: {rtmp: '127.0.0.1:8080'}", "rtmp and listen.http"),
        (
            &format!("listen: {{http: '[::]:1936'}}, {tls}"),
            "http and listen.rtmps",
        ),
        (
            "listen: {http: '127.0.0.1:9090'}",
            "http and listen.internal",
        ),
        (
            &format!("listen: {{http: '192.0.2.1:9090'}}, {secret}"),
            "http and listen.internal",
        ),
        (
            "listen: {internal: '[::1]:80', metrics: '[::1]:80'}",
            "internal and listen.metrics",
        ),
    ] {
        let error = refused(fields).expect(fields);
        assert!(error.contains(named), "{fields}: {error}");
    }
    for fields in [
        "listen: {http: '[::]:1936'}",
        "listen: {http: '192.0.2.1:9090'}",
        "listen: {rtmp: '127.0.0.1:0', http: '127.0.0.1:0', internal: '127.0.0.1:0'}",
        "listen: {rtmp: '127.0.0.1:80', http: '127.0.0.2:80', internal: '[::1]:80'}",
        "listen: {rtmp: '[::]:9092'}",
    ] {
        assert_eq!(refused(fields), None, "{fields}");
    }
}

#[test]
fn rtmp_servers_are_origins_of_an_edge_only() {
    let error = |text: &str| parse(text).unwrap_err().to_string();
    let edge = parse("{role: edge, origins: {rtmp: ['rtmp://srs', 'rtmp://[::1]:19350']}}");
    assert_eq!(edge.unwrap().origins.rtmp.len(), 2);
    let origin = error("origins: {rtmp: ['rtmp://srs']}");
    assert!(origin.contains("role: edge"), "{origin}");
    let both = error("{role: edge, origins: {rtmp: ['rtmp://srs'], addresses: ['a:1']}}");
    assert!(both.contains("one of service"), "{both}");
    for wrong in [
        "srs:1935",
        "rtmp://",
        "rtmp://srs/live",
        "rtmp://srs:x",
        "rtmp://:1935",
    ] {
        let refused = error(&format!("{{role: edge, origins: {{rtmp: ['{wrong}']}}}}"));
        assert!(refused.contains("rtmp://HOST:PORT"), "{wrong}: {refused}");
    }
}

#[test]
fn edge_without_origins_is_refused() {
    let error = parse("role: edge").unwrap_err().to_string();
    assert!(error.starts_with("origins:"), "{error}");
}

#[test]
fn address_without_ip_or_port_gets_an_example() {
    for wrong in ["1935", "':1935'", "'localhost:1935'", "'127.0.0.1'"] {
        let error = parse(&format!("listen: {{rtmp: {wrong}}}")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("listen.rtmp: ") && error.contains("as in 127.0.0.1:1935"),
            "{error}"
        );
    }
}

#[test]
fn viewer_on_each_connection_may_wait_for_a_name_of_its_own() {
    let limits = crate::Limits::default();
    assert!(limits.max_lookups >= limits.max_connections);
}
