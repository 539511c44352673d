//! The instances of a LiveCluster on this computer: their names, ports and configurations.
//!
//! The first origin has the ports of a Pod. Those of each further origin are 100 above (2035, 8180; 2135, 8280). The ports
//! of edges count up from 19351 and 8081, the internal ports of all instances from 9090, and their metrics ports from 9190. With TLS
//! the first origin also has 1936 and 8443, and the edges count up from 19451 and 8444.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use media_config::{
    Discovery, DrainSettings, HttpSettings, IdentitySettings, Limits, Listen, NodeConfig,
    ProxySettings, Role, TlsSettings,
};

use livecluster_api::{LiveClusterSpec, node_config, role::role_name};

use crate::manifest::Manifest;

/// Difference between the ports of two origins.
const ORIGIN_STRIDE: usize = 100;
/// Difference between the internal port and the metrics port of an instance.
const METRICS_ABOVE: usize = 100;
/// Short: no Service has to learn that an instance drains, and viewers only need what is under way.
const DRAIN: DrainSettings = DrainSettings {
    accept_seconds: 0,
    timeout_seconds: 2,
};

/// Addresses that the instances listen on.
#[derive(Clone, Debug, Args)]
pub(super) struct LocalPorts {
    /// Address that RTMP and HTTP listen on; :: opens them to other computers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
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
    /// RTMPS port of the first origin, with TLS; each further origin is 100 above
    #[arg(long, value_name = "PORT", default_value_t = 1936, value_parser = port())]
    pub rtmps_port: u16,
    /// HTTPS port of the first origin, with TLS; each further origin is 100 above
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = port())]
    pub https_port: u16,
    /// RTMPS port of the first edge, with TLS; each further edge is one above
    #[arg(long, value_name = "PORT", default_value_t = 19451, value_parser = port())]
    pub edge_rtmps_port: u16,
    /// HTTPS port of the first edge, with TLS; each further edge is one above
    #[arg(long, value_name = "PORT", default_value_t = 8444, value_parser = port())]
    pub edge_https_port: u16,
    /// Open ports with TLS (RTMPS, HTTPS, WSS) with this certificate and key, two PEM files, instead of spec.tls
    #[arg(long, num_args = 2, value_names = ["CERTIFICATE", "KEY"])]
    pub tls: Option<Vec<PathBuf>>,
    /// Internal port (API, relays) of the first instance, on 127.0.0.1 only; each further instance is one above, and the
    /// metrics port of an instance is 100 above its internal port
    #[arg(long, value_name = "PORT", default_value_t = 9090, value_parser = port())]
    pub internal_port: u16,
    /// File with a secret of at least 32 bytes: the internal ports then ask for a token, which is signed with it
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

impl LocalPorts {
    /// Returns the certificate of the command line, else that of the spec.
    fn tls(&self, spec: &LiveClusterSpec, mounts: &Path) -> Option<TlsSettings> {
        match self.tls.as_deref() {
            Some([certificate, key]) => Some(TlsSettings {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => spec.tls.as_ref().map(|tls| tls.settings(mounts)),
        }
    }
}

fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// Why the instances cannot be assigned ports.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Without origins, no stream can be published.
    #[error("spec.origins.replicas: 0 stops a LiveCluster, choose at least 1 to run it")]
    Stopped,
    /// A port would be above 65535.
    #[error("{instance}: there is no port {start} + {above}, choose a lower {option}")]
    Beyond {
        /// The instance, such as `edge-1`.
        instance: String,
        /// The first port.
        start: u16,
        /// The distance from the first port.
        above: usize,
        /// The option that changes the first port.
        option: &'static str,
    },
    /// The spec names a volume that only a Pod has.
    #[error(
        "spec.http.directory.persistentVolumeClaimName: there is no volume here, choose the folder of the pages with --directory"
    )]
    Claim,
    /// Two instances would have the same port.
    #[error("port {port} would be used by both {first} and {second}, move one with {option}")]
    Twice {
        /// The port.
        port: u16,
        /// The instance that has it.
        first: String,
        /// The instance that would have it, too.
        second: String,
        /// The option that changes the second one's port.
        option: &'static str,
    },
}

/// One media node of this computer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// Configuration of a Pod of this LiveCluster, with the name (`origin-1`) and the addresses of the instance.
    pub(super) config: NodeConfig,
}

impl Planned {
    /// Returns the option that changes the address in a field of the configuration.
    pub(super) fn option(&self, field: &str) -> &'static str {
        match (field, self.config.role) {
            ("listen.rtmp", Role::Origin) => "--rtmp-port",
            ("listen.rtmp", Role::Edge) => "--edge-rtmp-port",
            ("listen.http", Role::Origin) => "--http-port",
            ("listen.http", Role::Edge) => "--edge-http-port",
            ("listen.rtmps", Role::Origin) => "--rtmps-port",
            ("listen.rtmps", Role::Edge) => "--edge-rtmps-port",
            ("listen.https", Role::Origin) => "--https-port",
            ("listen.https", Role::Edge) => "--edge-https-port",
            _ => "--internal-port",
        }
    }
}

/// Plans the instances of a LiveCluster: its origins, then its edges. Its Secrets and ConfigMaps are folders of `mounts`.
/// `directory` has the pages instead of those that the spec names.
pub(super) fn plan(
    cluster: &Manifest,
    ports: &LocalPorts,
    directory: Option<&Path>,
    mounts: &Path,
) -> Result<Vec<Planned>, PlanError> {
    let count = |role| usize::from(cluster.spec.replicas(role));
    if count(Role::Origin) == 0 {
        return Err(PlanError::Stopped);
    }
    let mut taken = Taken::default();
    let mut instances = Vec::new();
    for role in [Role::Origin, Role::Edge] {
        for index in 0..count(role) {
            let name = format!("{}-{}", role_name(role), index + 1);
            let pod = node_config(&cluster.name, &cluster.spec, role);
            let tls = ports.tls(&cluster.spec, mounts);
            let slate = cluster.spec.slate.as_ref();
            let open = Listen {
                rtmps: pod.listen.rtmps.filter(|_| tls.is_some()),
                https: pod.listen.https.filter(|_| tls.is_some()),
                ..pod.listen.clone()
            };
            let number = instances.len();
            let has_one_address =
                ports.listen.is_loopback() && pod.proxies == ProxySettings::default();
            let limits = if has_one_address {
                without_address_limits(pod.limits.clone())
            } else {
                pod.limits.clone()
            };
            let config = NodeConfig {
                limits,
                listen: listen(&open, ports, role, index, number, &name, &mut taken)?,
                tls,
                name,
                auth: cluster.spec.auth.settings(mounts),
                identity: IdentitySettings {
                    secret_file: ports.secret_file.clone(),
                    ..IdentitySettings::default()
                },
                http: http(cluster, directory, mounts)?,
                slate: slate.map(|slate| slate.file(mounts)),
                drain: DRAIN,
                ..pod
            };
            instances.push(Planned { config });
        }
    }
    set_origins(&mut instances);
    Ok(instances)
}

/// Removes the default limits of each address, where all clients have the same one: that of this computer.
fn without_address_limits(mut limits: Limits) -> Limits {
    let default = Limits::default();
    for (limit, default) in [
        (
            &mut limits.max_connections_per_address,
            default.max_connections_per_address,
        ),
        (
            &mut limits.max_new_connections_per_second_per_address,
            default.max_new_connections_per_second_per_address,
        ),
    ] {
        if *limit == default {
            *limit = 0;
        }
    }
    limits
}

fn http(
    cluster: &Manifest,
    directory: Option<&Path>,
    mounts: &Path,
) -> Result<HttpSettings, PlanError> {
    let mut settings = cluster.spec.http.settings(mounts);
    match directory {
        Some(directory) => settings.directory = Some(directory.to_owned()),
        None => {
            let pages = cluster.spec.http.directory.as_ref();
            if pages.is_some_and(|pages| pages.persistent_volume_claim_name.is_some()) {
                return Err(PlanError::Claim);
            }
        }
    }
    Ok(settings)
}

/// Returns the addresses of the instance that is `index` of its role and `number` of all, for the ports that are open.
fn listen(
    open: &Listen,
    ports: &LocalPorts,
    role: Role,
    index: usize,
    number: usize,
    name: &str,
    taken: &mut Taken,
) -> Result<Listen, PlanError> {
    let ([rtmp, http, rtmps, https], stride) = match role {
        Role::Origin => (
            [
                (ports.rtmp_port, "--rtmp-port"),
                (ports.http_port, "--http-port"),
                (ports.rtmps_port, "--rtmps-port"),
                (ports.https_port, "--https-port"),
            ],
            ORIGIN_STRIDE,
        ),
        Role::Edge => (
            [
                (ports.edge_rtmp_port, "--edge-rtmp-port"),
                (ports.edge_http_port, "--edge-http-port"),
                (ports.edge_rtmps_port, "--edge-rtmps-port"),
                (ports.edge_https_port, "--edge-https-port"),
            ],
            1,
        ),
    };
    let internal = (ports.internal_port, "--internal-port");
    let above = index.saturating_mul(stride);
    let mut public = |open: Option<SocketAddr>, use_of, first| {
        let port = open.map(|_| taken.take(name, use_of, first, above));
        let port = port.transpose()?;
        Ok(port.map(|port| SocketAddr::new(ports.listen, port)))
    };
    Ok(Listen {
        rtmp: public(open.rtmp, "RTMP", rtmp)?,
        http: public(open.http, "HTTP", http)?,
        rtmps: public(open.rtmps, "RTMPS", rtmps)?,
        https: public(open.https, "HTTPS", https)?,
        internal: SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            taken.take(name, "internal", internal, number)?,
        ),
        metrics: Some(SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            taken.take(
                name,
                "metrics",
                internal,
                number.saturating_add(METRICS_ABOVE),
            )?,
        )),
    })
}

/// Gives every instance the addresses of all origins, as no Service resolves them here. An origin leaves itself out.
fn set_origins(instances: &mut [Planned]) {
    let addresses: Vec<String> = instances
        .iter()
        .filter(|instance| instance.config.role == Role::Origin)
        .map(|instance| instance.config.listen.internal.to_string())
        .collect();
    for instance in instances {
        instance.config.origins = Discovery {
            addresses: addresses.clone(),
            ..Discovery::default()
        };
    }
}

/// The ports that are assigned, and to which instance.
#[derive(Default)]
struct Taken(HashMap<u16, String>);

impl Taken {
    fn take(
        &mut self,
        name: &str,
        use_of: &str,
        (start, option): (u16, &'static str),
        above: usize,
    ) -> Result<u16, PlanError> {
        let port = u16::try_from(above)
            .ok()
            .and_then(|above| start.checked_add(above))
            .ok_or_else(|| PlanError::Beyond {
                instance: name.to_owned(),
                start,
                above,
                option,
            })?;
        let user = format!("{name} ({use_of})");
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
mod tests;
