//! Which nodes run on this machine, and on which ports.
//!
//! The first origin has the ports of a Pod. Each further origin is 100 above the one before (2035, 8180; 2135, 8280),
//! edges count up by one from 19351 and 8081, and the internal ports count up over all nodes from 9090.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use media_config::{Discovery, DrainSettings, Listen, NodeConfig, Role};

use livecluster_api::{LiveCluster, node_config};

/// How far apart the ports of two origins are.
const ORIGIN_STRIDE: usize = 100;
/// Nobody has to learn of a leaving node here: a few moments for viewers to get what is under way.
const DRAIN: DrainSettings = DrainSettings {
    accept_seconds: 0,
    timeout_seconds: 2,
};

/// Where the nodes listen.
#[derive(Clone, Debug, Args)]
pub struct Ports {
    /// Address that RTMP and HTTP listen on; :: is every address, 127.0.0.1 keeps other machines out
    #[arg(long, value_name = "ADDRESS", default_value = "::")]
    pub listen: IpAddr,
    /// RTMP port of the first origin; each further origin is 100 above
    #[arg(long, value_name = "PORT", default_value_t = 1935, value_parser = port())]
    pub rtmp_port: u16,
    /// HTTP port of the first origin; each further origin is 100 above
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = port())]
    pub http_port: u16,
    /// RTMP port of the first edge; each further edge is one above
    #[arg(long, value_name = "PORT", default_value_t = 19351, value_parser = port())]
    pub edge_rtmp_port: u16,
    /// HTTP port of the first edge; each further edge is one above
    #[arg(long, value_name = "PORT", default_value_t = 8081, value_parser = port())]
    pub edge_http_port: u16,
    /// Internal port (metrics, API, relays) of the first node, on 127.0.0.1 only; each further node is one above
    #[arg(long, value_name = "PORT", default_value_t = 9090, value_parser = port())]
    pub internal_port: u16,
}

fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// Why a cluster cannot be laid out on one machine.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A cluster without origins has nothing to publish to.
    #[error("spec.origins.replicas: 0 stops a cluster, choose at least 1 to run it")]
    Stopped,
    /// Counting up has reached the end of the ports.
    #[error("{node}: there is no port {start} + {above}, choose a lower {option}")]
    Beyond {
        /// The node whose port it would be.
        node: String,
        /// Where the counting starts.
        start: u16,
        /// How far the node is from there.
        above: usize,
        /// What moves the start.
        option: &'static str,
    },
    /// Two of the counts have met.
    #[error("port {port} would be used by both {first} and {second}, move one with {option}")]
    Twice {
        /// The port.
        port: u16,
        /// Who has it.
        first: String,
        /// Who would have it, too.
        second: String,
        /// What moves the second one.
        option: &'static str,
    },
}

/// One node of this machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// `origin 1`, `edge 2`.
    pub(super) label: String,
    /// What a Pod of this cluster would be told, at other addresses.
    pub(super) config: NodeConfig,
}

/// The nodes of a cluster: its origins, then its edges.
pub(super) fn plan(cluster: &LiveCluster, ports: &Ports) -> Result<Vec<Planned>, PlanError> {
    let spec = &cluster.spec;
    let count = |role| usize::from(spec.replicas(role));
    if count(Role::Origin) == 0 {
        return Err(PlanError::Stopped);
    }
    let mut taken = Taken::default();
    let mut nodes = Vec::new();
    let members = (0..count(Role::Origin))
        .map(|index| (Role::Origin, index))
        .chain((0..count(Role::Edge)).map(|index| (Role::Edge, index)));
    for (number, (role, index)) in members.enumerate() {
        let (name, rtmp, http, stride) = match role {
            Role::Origin => (
                "origin",
                (ports.rtmp_port, "--rtmp-port"),
                (ports.http_port, "--http-port"),
                ORIGIN_STRIDE,
            ),
            Role::Edge => (
                "edge",
                (ports.edge_rtmp_port, "--edge-rtmp-port"),
                (ports.edge_http_port, "--edge-http-port"),
                1,
            ),
        };
        let label = format!("{name} {}", index + 1);
        let internal = (ports.internal_port, "--internal-port");
        let above = index.saturating_mul(stride);
        let listen = Listen {
            rtmp: SocketAddr::new(ports.listen, taken.take(&label, "RTMP", rtmp, above)?),
            http: SocketAddr::new(ports.listen, taken.take(&label, "HTTP", http, above)?),
            internal: SocketAddr::new(
                Ipv4Addr::LOCALHOST.into(),
                taken.take(&label, "internal", internal, number)?,
            ),
        };
        let config = NodeConfig {
            name: format!(
                "{}-{name}-{}",
                cluster.metadata.name.as_deref().unwrap_or("local"),
                index + 1
            ),
            listen,
            drain: DRAIN,
            ..node_config(cluster, role)
        };
        nodes.push(Planned { label, config });
    }
    introduce(&mut nodes);
    Ok(nodes)
}

/// There is no Service whose name tells the origins: everybody gets their addresses. A node leaves itself out.
fn introduce(nodes: &mut [Planned]) {
    let addresses: Vec<String> = nodes
        .iter()
        .filter(|node| node.config.role == Role::Origin)
        .map(|node| node.config.listen.internal.to_string())
        .collect();
    for node in nodes {
        node.config.origins = Discovery {
            addresses: addresses.clone(),
            ..Discovery::default()
        };
    }
}

/// The ports that are given away, and to whom.
#[derive(Default)]
struct Taken(HashMap<u16, String>);

impl Taken {
    fn take(
        &mut self,
        label: &str,
        use_of: &str,
        (start, option): (u16, &'static str),
        above: usize,
    ) -> Result<u16, PlanError> {
        let port = u16::try_from(above)
            .ok()
            .and_then(|above| start.checked_add(above))
            .ok_or_else(|| PlanError::Beyond {
                node: label.to_owned(),
                start,
                above,
                option,
            })?;
        let user = format!("{label} ({use_of})");
        match self.0.insert(port, user.clone()) {
            None => Ok(port),
            Some(first) => Err(PlanError::Twice {
                port,
                first,
                second: user,
                option,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use livecluster_api::LiveClusterSpec;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ports: Ports,
    }

    fn ports(options: &[&str]) -> Ports {
        Line::parse_from(["test"].iter().chain(options)).ports
    }

    fn cluster(origins: u16, edges: u16) -> LiveCluster {
        let mut cluster = LiveCluster::new("demo", LiveClusterSpec::default());
        cluster.spec.origins.replicas = origins;
        cluster.spec.edges.replicas = edges;
        cluster
    }

    fn addresses(nodes: &[Planned]) -> Vec<String> {
        nodes
            .iter()
            .map(|Planned { label, config }| {
                let Listen {
                    rtmp,
                    http,
                    internal,
                } = config.listen;
                format!("{label} {rtmp} {http} {internal}")
            })
            .collect()
    }

    #[test]
    fn the_guide_s_ports_are_the_default() {
        let nodes = plan(&cluster(1, 2), &ports(&[])).unwrap();
        assert_eq!(
            addresses(&nodes),
            [
                "origin 1 [::]:1935 [::]:8080 127.0.0.1:9090",
                "edge 1 [::]:19351 [::]:8081 127.0.0.1:9091",
                "edge 2 [::]:19352 [::]:8082 127.0.0.1:9092",
            ]
        );
    }

    #[test]
    fn further_origins_are_a_hundred_above() {
        let nodes = plan(&cluster(3, 1), &ports(&["--listen", "::1"])).unwrap();
        assert_eq!(
            addresses(&nodes),
            [
                "origin 1 [::1]:1935 [::1]:8080 127.0.0.1:9090",
                "origin 2 [::1]:2035 [::1]:8180 127.0.0.1:9091",
                "origin 3 [::1]:2135 [::1]:8280 127.0.0.1:9092",
                "edge 1 [::1]:19351 [::1]:8081 127.0.0.1:9093",
            ]
        );
    }

    #[test]
    fn a_node_is_told_what_a_pod_is_told_except_where_it_is() {
        let mut cluster = cluster(2, 1);
        cluster.spec.stream.linger_seconds = 3;
        cluster.spec.vhosts = vec!["a.example".to_owned()];
        for node in plan(&cluster, &ports(&[])).unwrap() {
            let pod = node_config(&cluster, node.config.role);
            assert_eq!(
                node.config.origins.addresses,
                ["127.0.0.1:9090", "127.0.0.1:9091"]
            );
            let told = NodeConfig {
                name: String::new(),
                listen: pod.listen.clone(),
                origins: pod.origins.clone(),
                drain: pod.drain.clone(),
                ..node.config
            };
            assert_eq!(told, pod);
        }
    }

    #[test]
    fn every_node_s_configuration_is_one_that_a_node_accepts() {
        for node in plan(&cluster(2, 2), &ports(&[])).unwrap() {
            let text = media_config::render(&node.config).unwrap();
            assert_eq!(media_config::parse(&text).unwrap(), node.config);
        }
    }

    #[test]
    fn counts_that_meet_are_named_with_what_moves_them() {
        let error = plan(&cluster(1, 2), &ports(&["--edge-http-port", "9089"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "port 9090 would be used by both origin 1 (internal) and edge 2 (HTTP), move one with --edge-http-port"
        );
    }

    #[test]
    fn a_count_ends_at_the_last_port() {
        let error = plan(&cluster(1, 2), &ports(&["--edge-rtmp-port", "65535"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "edge 2: there is no port 65535 + 1, choose a lower --edge-rtmp-port"
        );
    }

    #[test]
    fn a_stopped_cluster_is_not_run() {
        assert!(matches!(
            plan(&cluster(0, 2), &ports(&[])),
            Err(PlanError::Stopped)
        ));
    }
}
