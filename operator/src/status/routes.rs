//! `RoutesAccepted`: whether the Gateways accept the routes of the cluster.

use kube::core::DynamicObject;
use livecluster_api::{GatewayParent, GatewayRoute, LiveCluster, names};
use serde_json::Value;

use super::condition_status::{ConditionStatus, joined};
use crate::desired::gateway_routes::{self, ParentRef, RouteObstacle};
use crate::observe::gateways::{GatewayState, ObservedGateways};

/// Returns the status of `RoutesAccepted`; `None` without `spec.gateway`.
pub(super) fn routes_accepted(
    cluster: &LiveCluster,
    observed: &ObservedGateways,
) -> Option<ConditionStatus> {
    cluster.spec.gateway.as_ref()?;
    let mut problems: Vec<ConditionStatus> = Vec::new();
    let mut accepted = Vec::new();
    for (route, parents) in cluster.spec.gateway_routes() {
        match problem(cluster, observed, route, &parents) {
            Some(new) if problems.iter().all(|known| known.message != new.message) => {
                problems.push(new);
            }
            Some(_) => {}
            None => accepted.push(names::gateway_route(cluster, route)),
        }
    }
    problems.sort_by_key(|problem| problem.reason == PENDING);
    Some(joined(problems).unwrap_or_else(|| {
        let unreadable = observed.gateways.iter();
        let unreadable = unreadable.filter(|gateway| gateway.state == GatewayState::Unreadable);
        let mut message = format!("accepted by their Gateways: {}", accepted.join(", "));
        for gateway in unreadable {
            message = format!(
                "{message}; the operator may not read Gateway {}/{}, so that its addresses are unknown",
                gateway.namespace, gateway.name
            );
        }
        ConditionStatus::new(true, "Accepted", message)
    }))
}

/// Returns whether a cluster waits for a Gateway to accept a route, or to have an address.
pub(crate) fn awaits_gateway(cluster: &LiveCluster, observed: &ObservedGateways) -> bool {
    routes_accepted(cluster, observed)
        .is_some_and(|status| !status.is_true || !gateways_without_address(observed).is_empty())
}

/// Returns the Gateways that are to have an address and have none yet, as "namespace/name".
pub(super) fn gateways_without_address(observed: &ObservedGateways) -> Vec<String> {
    let pending = observed.gateways.iter().filter(|gateway| {
        matches!(&gateway.state, GatewayState::Found { addresses, .. } if addresses.is_empty())
    });
    pending
        .map(|gateway| format!("{}/{}", gateway.namespace, gateway.name))
        .collect()
}

/// Returns whether a Gateway accepts a route.
pub(super) fn is_accepted(route: &DynamicObject, parent: &ParentRef) -> bool {
    answer(route, parent) == ParentAnswer::Accepted
}

const PENDING: &str = "RoutesPending";

fn problem(
    cluster: &LiveCluster,
    observed: &ObservedGateways,
    route: GatewayRoute,
    parents: &[&GatewayParent],
) -> Option<ConditionStatus> {
    let failed = |reason, message| Some(ConditionStatus::new(false, reason, message));
    if let Err(obstacle) = gateway_routes::resource(cluster, route, &observed.served) {
        let (reason, message) = obstacle_message(route, obstacle);
        return failed(reason, message);
    }
    let kind = gateway_routes::kind(route).name();
    let name = format!("{kind} {}", names::gateway_route(cluster, route));
    let Some(object) = observed.route(cluster, route) else {
        return failed(PENDING, format!("{name} does not exist yet"));
    };
    for parent in parents {
        let parent = gateway_routes::parent_ref(cluster, route, parent);
        let gateway = format!("Gateway {}/{}", parent.namespace, parent.name);
        let state = observed.gateway(&parent.namespace, &parent.name);
        if state == Some(&GatewayState::Missing) {
            return failed("GatewayNotFound", format!("{gateway} does not exist"));
        }
        match answer(object, &parent) {
            ParentAnswer::Accepted => {}
            ParentAnswer::None => {
                let message = format!("{name} waits for the controller of {gateway}");
                return failed(PENDING, message);
            }
            ParentAnswer::Refused(why) => {
                let message = format!("{gateway} does not accept {name}: {why}");
                return failed("RoutesNotAccepted", message);
            }
        }
    }
    None
}

fn obstacle_message(route: GatewayRoute, obstacle: RouteObstacle) -> (&'static str, String) {
    let name = route.name();
    match obstacle {
        RouteObstacle::NotServed(kind) => (
            "GatewayApiMissing",
            format!(
                "the Kubernetes cluster does not serve {}; install the CustomResourceDefinitions of the Gateway API",
                kind.name()
            ),
        ),
        RouteObstacle::NoHostname => (
            "HostnameMissing",
            format!(
                "route {name} needs spec.gateway.hostnames, as TLS connections are routed by their host name"
            ),
        ),
        RouteObstacle::PortClosed => {
            let message = format!(
                "route {name} leads to a closed port; spec.tls decides which ports are open"
            );
            ("PortClosed", message)
        }
    }
}

/// What the controller of a Gateway has written into the status of a route.
#[derive(Debug, PartialEq, Eq)]
enum ParentAnswer {
    /// Nothing about the current generation of the route.
    None,
    Accepted,
    /// With the reason and message.
    Refused(String),
}

fn answer(route: &DynamicObject, parent: &ParentRef) -> ParentAnswer {
    let parents = route.data["status"]["parents"].as_array();
    let answers = parents.into_iter().flatten();
    let mut answers = answers.filter(|answer| is_about(&answer["parentRef"], route, parent));
    let Some(answer) = answers.next() else {
        return ParentAnswer::None;
    };
    let conditions = answer["conditions"].as_array();
    let condition = |kind: &str| {
        let mut found = conditions.into_iter().flatten();
        found.find(|condition| condition["type"] == kind)
    };
    let Some(accepted) = condition("Accepted").filter(|it| is_current(it, route)) else {
        return ParentAnswer::None;
    };
    let resolved = condition("ResolvedRefs");
    for condition in std::iter::once(accepted).chain(resolved) {
        if condition["status"] != "True" {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            let why = format!("{}: {}", text("reason"), text("message"));
            return ParentAnswer::Refused(why);
        }
    }
    ParentAnswer::Accepted
}

/// Returns whether a condition is about the current generation. Some controllers write none.
fn is_current(condition: &Value, route: &DynamicObject) -> bool {
    let observed = condition["observedGeneration"].as_i64();
    observed.is_none() || observed >= route.metadata.generation
}

fn is_about(reference: &Value, route: &DynamicObject, parent: &ParentRef) -> bool {
    let namespace = reference["namespace"].as_str();
    let namespace = namespace.or(route.metadata.namespace.as_deref());
    reference["name"] == *parent.name
        && namespace == Some(&parent.namespace)
        && reference["sectionName"].as_str() == parent.section_name.as_deref()
        && reference["port"].as_u64() == parent.port.map(u64::from)
}
