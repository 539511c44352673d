//! The rules of a whole LiveCluster, for `livecluster check`. Each rule stands beside the type that it is about.

use media_config::Role;

use crate::cluster_name::ClusterName;
use crate::spec::LiveClusterSpec;
use crate::{auth, autoscaling, cluster_name, http, pods, role, rolling_update, rule, service};

/// Returns the message of each rule that a new LiveCluster breaks, behind the field that it is about.
pub fn violations(name: &ClusterName, spec: &LiveClusterSpec) -> Vec<String> {
    let mut broken = rule::broken("metadata", &cluster_name::RULES, name.name.as_str());
    for role in [Role::Origin, Role::Edge] {
        let path = format!("spec.{}s.service", role::role_name(role));
        let service = &spec.pods(role).service;
        broken.extend(rule::broken(&path, &service::RULES, service));
        broken.extend(rule::broken(
            &format!("{path}.ports"),
            &service::PORT_RULES,
            &service.ports,
        ));
        if let Some(ports) = &service.node_ports {
            broken.extend(rule::broken(
                &format!("{path}.nodePorts"),
                &service::NODE_PORT_RULES,
                ports,
            ));
        }
        let path = format!("spec.{}s.rollingUpdate", role::role_name(role));
        let update = &spec.pods(role).rolling_update;
        broken.extend(rule::broken(&path, &rolling_update::RULES, update));
    }
    broken.extend(rule::broken("spec.edges", &pods::EDGE_RULES, &spec.edges));
    if let Some(autoscaling) = &spec.edges.autoscaling {
        let path = "spec.edges.autoscaling";
        broken.extend(rule::broken(path, &autoscaling::RULES, autoscaling));
    }
    for (action, access) in [("publish", &spec.auth.publish), ("play", &spec.auth.play)] {
        if let Some(jwt) = &access.jwt {
            let path = format!("spec.auth.{action}.jwt.jwks");
            broken.extend(rule::broken(&path, &auth::JWKS_RULES, &jwt.jwks));
        }
    }
    if let Some(directory) = &spec.http.directory {
        let path = "spec.http.directory";
        broken.extend(rule::broken(path, &http::DIRECTORY_RULES, directory));
    }
    broken
}

#[cfg(test)]
mod tests;
