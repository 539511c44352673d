//! How this host reaches nodes that are inside the cluster: a NodePort Service of the scenario's own, on the front machine.
//!
//! It works for any LiveCluster, whatever the type of its own Services, and for a single pod as well as for a role.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use tokio::net::TcpStream;

use super::{Stage, eventually};

/// Where a role or a pod is reached from this host.
#[derive(Clone, Debug)]
pub struct Reach {
    /// `ADDRESS:PORT` of RTMP.
    pub rtmp: String,
    /// `ADDRESS:PORT` of HTTP-FLV.
    pub http: String,
}

impl Reach {
    /// The RTMP URL of a stream.
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// The HTTP-FLV URL of a stream.
    pub fn flv(&self, stream: &str) -> String {
        format!("http://{}/{stream}.flv", self.http)
    }
}

pub(super) async fn expose(
    stage: &Stage,
    name: &str,
    selector: BTreeMap<String, String>,
) -> anyhow::Result<Reach> {
    let service = Service {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some("NodePort".to_owned()),
            selector: Some(selector),
            ports: Some(vec![port("rtmp", 1935), port("http", 8080)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let services: Api<Service> = stage.api();
    let service = match services.create(&PostParams::default(), &service).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => services.get(name).await?,
        created => created.with_context(|| format!("cannot expose {name}"))?,
    };
    let reach = of_service(stage, &service)?;
    known(&reach).await?;
    Ok(reach)
}

/// Waits until the machines know the node ports: until then they refuse every connection.
async fn known(reach: &Reach) -> anyhow::Result<()> {
    for address in [&reach.rtmp, &reach.http] {
        let expected = format!("{address} takes connections");
        eventually(&expected, PATIENCE, || async {
            TcpStream::connect(address).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Where a Service of type NodePort or LoadBalancer is reached.
pub(super) fn of_service(stage: &Stage, service: &Service) -> anyhow::Result<Reach> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref());
    let address = |name: &str| {
        let port = ports
            .unwrap_or_default()
            .iter()
            .find(|port| port.name.as_deref() == Some(name))
            .and_then(|port| port.node_port)
            .with_context(|| format!("Service {} has no node port {name}", service.name_any()))?;
        anyhow::Ok(format!("{}:{port}", stage.cluster.front().address))
    };
    Ok(Reach {
        rtmp: address("rtmp")?,
        http: address("http")?,
    })
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    }
}

/// For the machines to hear of a new Service.
const PATIENCE: Duration = Duration::from_secs(30);
