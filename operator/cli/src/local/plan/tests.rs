//! Addresses, ports and configurations of planned instances.

use clap::Parser;
use livecluster_api::{ClusterName, LiveClusterSpec, TlsSpec};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    ports: LocalPorts,
}

fn ports(options: &[&str]) -> LocalPorts {
    Line::parse_from(["test"].iter().chain(options)).ports
}

fn cluster(origins: u16, edges: u16) -> Manifest {
    let mut cluster = Manifest {
        resources: Vec::new(),
        name: ClusterName::new("", "demo"),
        spec: LiveClusterSpec::default(),
    };
    cluster.spec.origins.replicas = origins;
    cluster.spec.edges.replicas = edges;
    cluster
}

fn addresses(instances: &[Planned]) -> Vec<String> {
    instances
        .iter()
        .map(|Planned { config }| {
            let Listen {
                rtmp,
                http,
                internal,
                metrics,
                ..
            } = config.listen;
            let (rtmp, http) = (rtmp.unwrap(), http.unwrap());
            let metrics = metrics.unwrap().port();
            format!("{} {rtmp} {http} {internal} {metrics}", config.name)
        })
        .collect()
}

#[test]
fn default_ports_are_those_of_the_srs_guide() {
    let instances = plan(&cluster(1, 2), &ports(&[]), None, Path::new("/mounts")).unwrap();
    assert_eq!(
        addresses(&instances),
        [
            "origin-1 127.0.0.1:1935 127.0.0.1:8080 127.0.0.1:9090 9190",
            "edge-1 127.0.0.1:19351 127.0.0.1:8081 127.0.0.1:9091 9191",
            "edge-2 127.0.0.1:19352 127.0.0.1:8082 127.0.0.1:9092 9192",
        ]
    );
}

#[test]
fn further_origins_are_100_ports_above() {
    let instances = plan(
        &cluster(3, 1),
        &ports(&["--listen", "::1"]),
        None,
        Path::new("/mounts"),
    )
    .unwrap();
    assert_eq!(
        addresses(&instances),
        [
            "origin-1 [::1]:1935 [::1]:8080 127.0.0.1:9090 9190",
            "origin-2 [::1]:2035 [::1]:8180 127.0.0.1:9091 9191",
            "origin-3 [::1]:2135 [::1]:8280 127.0.0.1:9092 9192",
            "edge-1 [::1]:19351 [::1]:8081 127.0.0.1:9093 9193",
        ]
    );
}

#[test]
fn tls_opens_further_ports_and_may_close_the_others() {
    let listen = |cluster: &Manifest, options: &[&str]| {
        let instances = plan(cluster, &ports(options), None, Path::new("/mounts")).unwrap();
        instances.into_iter().map(|instance| {
            let Listen {
                rtmp, rtmps, https, ..
            } = instance.config.listen;
            let port = |address: Option<SocketAddr>| address.map_or(0, |it| it.port());
            [port(rtmp), port(rtmps), port(https)]
        })
    };
    let mut cluster = cluster(2, 1);
    let by_option = listen(&cluster, &["--tls", "a.crt", "a.key"]);
    assert_eq!(
        by_option.collect::<Vec<_>>(),
        [[1935, 1936, 8443], [2035, 2036, 8543], [19351, 19451, 8444]]
    );
    cluster.spec.tls = Some(TlsSpec {
        secret_name: "certificate".to_owned(),
        required: true,
    });
    let instances = plan(&cluster, &ports(&[]), None, Path::new("/mounts")).unwrap();
    let tls = instances[0].config.tls.as_ref().unwrap();
    assert_eq!(tls.key, Path::new("/mounts/tls/tls.key"));
    assert_eq!(listen(&cluster, &[]).next(), Some([0, 1936, 8443]));
}

#[test]
fn instance_has_the_configuration_of_a_pod_except_its_addresses() {
    let mut cluster = cluster(2, 1);
    cluster.spec.limits.max_connections_per_address = 7;
    cluster
        .spec
        .limits
        .max_new_connections_per_second_per_address = 8;
    cluster.spec.stream.linger_seconds = 3;
    cluster.spec.vhosts = vec!["a.example".to_owned()];
    for instance in plan(&cluster, &ports(&[]), None, Path::new("/mounts")).unwrap() {
        let pod = node_config(&cluster.name, &cluster.spec, instance.config.role);
        assert_eq!(
            instance.config.origins.addresses,
            ["127.0.0.1:9090", "127.0.0.1:9091"]
        );
        let config = NodeConfig {
            name: String::new(),
            listen: pod.listen.clone(),
            origins: pod.origins.clone(),
            drain: pod.drain.clone(),
            ..instance.config
        };
        assert_eq!(config, pod);
    }
}

#[test]
fn default_limits_of_one_address_do_not_hold_where_all_clients_have_one() {
    let limits = |spec: &str, listen: &str| {
        let mut cluster = cluster(1, 1);
        cluster.spec = serde_yaml::from_str(spec).unwrap();
        let instances = plan(
            &cluster,
            &ports(&["--listen", listen]),
            None,
            Path::new("/"),
        );
        let limits = instances.unwrap().remove(0).config.limits;
        (
            limits.max_connections_per_address,
            limits.max_new_connections_per_second_per_address,
        )
    };
    assert_eq!(limits("{}", "127.0.0.1"), (0, 0));
    let own = "limits: {maxConnectionsPerAddress: 5}";
    assert_eq!(limits(own, "::1"), (5, 0));
    let by_proxy = "proxies: {forwardedCidrs: [127.0.0.1/32]}";
    for (spec, listen) in [("{}", "::"), (by_proxy, "127.0.0.1")] {
        assert_eq!(limits(spec, listen), (1_000, 100), "{spec} {listen}");
    }
}

#[test]
fn every_configuration_is_accepted_by_a_media_node() {
    for instance in plan(&cluster(2, 2), &ports(&[]), None, Path::new("/mounts")).unwrap() {
        let text = media_config::render(&instance.config).unwrap();
        assert_eq!(media_config::parse(&text).unwrap(), instance.config);
    }
}

#[test]
fn ports_that_collide_are_named_with_the_option_that_changes_them() {
    let error = plan(
        &cluster(1, 2),
        &ports(&["--edge-http-port", "9089"]),
        None,
        Path::new("/mounts"),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "port 9090 would be used by both origin-1 (internal) and edge-2 (HTTP), move one with --edge-http-port"
    );
}

#[test]
fn port_above_65535_is_refused() {
    let error = plan(
        &cluster(1, 2),
        &ports(&["--edge-rtmp-port", "65535"]),
        None,
        Path::new("/mounts"),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "edge-2: there is no port 65535 + 1, choose a lower --edge-rtmp-port"
    );
}

#[test]
fn directory_replaces_the_pages_of_the_spec() {
    let mut cluster = cluster(1, 1);
    let claim = livecluster_api::DirectorySpec {
        persistent_volume_claim_name: Some("pages".to_owned()),
        ..Default::default()
    };
    cluster.spec.http.directory = Some(claim);
    let pages = Path::new("/pages");
    let plan = |directory| plan(&cluster, &ports(&[]), directory, Path::new("/mounts"));
    for instance in plan(Some(pages)).unwrap() {
        assert_eq!(instance.config.http.directory.as_deref(), Some(pages));
    }
    let error = plan(None).unwrap_err().to_string();
    assert!(error.contains("--directory"), "{error}");
}

#[test]
fn stopped_cluster_is_refused() {
    assert!(matches!(
        plan(&cluster(0, 2), &ports(&[]), None, Path::new("/mounts")),
        Err(PlanError::Stopped)
    ));
}
