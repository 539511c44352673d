//! The Pod template of a role: a media node with its configuration, within the Pod Security Standard `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, HTTPGetAction, LocalObjectReference,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use livecluster_api::names;
use livecluster_api::{LiveCluster, PodSettings};
use media_config::Role;
use serde_json::Value;

use super::spec_error::SpecError;
use super::{config_map, identity, live_settings, mounts, overlay, tolerations};

/// Mount path of the configuration.
const DIRECTORY: &str = "/etc/media-node";
/// Seconds between the end of the drain and the kill of the Pod: time to close the last connections.
const GRACE_SECONDS: u32 = 15;
/// The cluster autoscaler waits at most ten minutes for a Pod. An origin that drains longer asks not to be evicted.
const AUTOSCALER_SECONDS: u32 = 600;

/// Returns the Pod template of a role, with the spec's `podTemplate` merged into it.
pub(super) fn template(
    cluster: &LiveCluster,
    role: Role,
    image: &str,
    config_hash: &str,
) -> Result<PodTemplateSpec, SpecError> {
    let pods = cluster.spec.pods(role);
    let field = |name: &str| format!("spec.{}s.{name}", names::role_name(role));
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pods.pod_labels.clone()),
            annotations: Some(annotations(pods, role)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: affinity(pods, &field("affinity"))?,
            topology_spread_constraints: topology_spread(
                cluster,
                role,
                &field("topologySpreadConstraints"),
            )?,
            ..pod_spec(cluster, role, image, config_hash)
        }),
    };
    if let Some(raw) = &pods.pod_template {
        let raw = Value::Object(raw.clone());
        template.merge_from(overlay::typed(&field("podTemplate"), raw)?);
    }
    tolerations::add_defaults(template.spec.get_or_insert_default());
    set_required_fields(&mut template, cluster, role);
    Ok(template)
}

/// Sets the fields that neither `podLabels` nor `podTemplate` may change: without them the Pod would not be discovered,
/// or would be killed before it has drained.
fn set_required_fields(template: &mut PodTemplateSpec, cluster: &LiveCluster, role: Role) {
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    labels.extend(names::labels(cluster, Some(role)));
    labels.extend(names::service_selector(cluster, role));
    let spec = template.spec.get_or_insert_default();
    spec.termination_grace_period_seconds = Some(grace_seconds(cluster.spec.pods(role)));
    for container in &mut spec.containers {
        if container.name == names::CONTAINER {
            container.ports = Some(ports(cluster));
        }
    }
}

fn grace_seconds(pods: &PodSettings) -> i64 {
    i64::from(pods.drain_timeout_seconds) + i64::from(GRACE_SECONDS)
}

fn annotations(pods: &PodSettings, role: Role) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if role == Role::Origin && pods.drain_timeout_seconds > AUTOSCALER_SECONDS {
        annotations.insert(
            "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(),
            "false".to_owned(),
        );
    }
    annotations.extend(pods.pod_annotations.clone());
    annotations
}

fn affinity(pods: &PodSettings, field: &str) -> Result<Option<Affinity>, SpecError> {
    pods.affinity
        .as_ref()
        .map(|raw| overlay::typed(field, Value::Object(raw.clone())))
        .transpose()
}

/// Returns the spec's constraints; by default Pods spread over nodes and zones as far as possible.
fn topology_spread(
    cluster: &LiveCluster,
    role: Role,
    field: &str,
) -> Result<Option<Vec<TopologySpreadConstraint>>, SpecError> {
    if let Some(raw) = &cluster.spec.pods(role).topology_spread_constraints {
        let typed = raw
            .iter()
            .enumerate()
            .map(|(index, raw)| {
                overlay::typed(&format!("{field}[{index}]"), Value::Object(raw.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        return Ok((!typed.is_empty()).then_some(typed));
    }
    let over = |topology: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(names::label_selector(names::selector(cluster, role))),
        // Without it, the Pods of the old template would count as well.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    Ok(Some(vec![
        over("kubernetes.io/hostname"),
        over("topology.kubernetes.io/zone"),
    ]))
}

fn pod_spec(cluster: &LiveCluster, role: Role, image: &str, config_hash: &str) -> PodSpec {
    let pods = cluster.spec.pods(role);
    let secrets = &cluster.spec.image_pull_secrets;
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(cluster, pods, image)],
        // A media node does not use the environment variables of the namespace's Services.
        enable_service_links: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then(|| {
            secrets
                .iter()
                .map(|secret| LocalObjectReference {
                    name: secret.name.clone(),
                })
                .collect()
        }),
        node_selector: (!pods.node_selector.is_empty()).then(|| pods.node_selector.clone()),
        priority_class_name: pods.priority_class_name.clone(),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(identity::service_account(cluster, role)),
        termination_grace_period_seconds: Some(grace_seconds(pods)),
        tolerations: (!pods.tolerations.is_empty())
            .then(|| pods.tolerations.iter().map(Into::into).collect()),
        volumes: Some(volumes(cluster, role, config_hash)),
        ..PodSpec::default()
    }
}

fn volumes(cluster: &LiveCluster, role: Role, config_hash: &str) -> Vec<Volume> {
    let mut volumes = vec![
        mounts::config_map(
            names::CONFIG_VOLUME,
            names::config_map(cluster, role, config_hash),
        ),
        live_settings::volume(cluster),
        identity::volume(cluster),
    ];
    volumes.extend(mounts::volumes(&cluster.spec));
    volumes
}

fn volume_mounts(cluster: &LiveCluster) -> Vec<VolumeMount> {
    let mut volume_mounts = vec![
        mounts::read_only(names::CONFIG_VOLUME, DIRECTORY),
        live_settings::volume_mount(),
        identity::volume_mount(),
    ];
    volume_mounts.extend(mounts::volume_mounts(&cluster.spec));
    volume_mounts
}

fn container(cluster: &LiveCluster, pods: &PodSettings, image: &str) -> Container {
    let resources = &pods.resources;
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(cluster.spec.image_pull_policy.as_str().to_owned()),
        args: Some(vec![
            "--config".to_owned(),
            format!("{DIRECTORY}/{}", config_map::FILE),
        ]),
        env: Some(vec![live_settings::environment()]),
        ports: Some(ports(cluster)),
        // Ready within two seconds and out of the Service within four: clients must not reach a Pod that drains.
        readiness_probe: Some(probe("/readyz", 2, 2)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        resources: (!resources.requests.is_empty() || !resources.limits.is_empty()).then(|| {
            ResourceRequirements {
                requests: quantities(&resources.requests),
                limits: quantities(&resources.limits),
                claims: None,
            }
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volume_mounts(cluster)),
        ..Container::default()
    }
}

fn quantities(
    amounts: &BTreeMap<String, livecluster_api::Quantity>,
) -> Option<BTreeMap<String, Quantity>> {
    let amounts = amounts.iter();
    let amounts: BTreeMap<_, _> = amounts
        .map(|(resource, amount)| (resource.clone(), amount.into()))
        .collect();
    (!amounts.is_empty()).then_some(amounts)
}

fn ports(cluster: &LiveCluster) -> Vec<ContainerPort> {
    let ports = cluster.spec.client_ports().into_iter();
    ports
        .map(|port| (port.name(), port.container_port()))
        .chain([("internal", 9090), ("metrics", 9092)])
        .map(|(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            container_port: port.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("internal".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
