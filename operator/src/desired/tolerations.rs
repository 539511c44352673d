//! How soon a Pod is replaced whose node does not respond. Kubernetes waits five minutes, for the sake of Pods with data. A media node
//! has none: its clients are elsewhere by then, and only its place is missing.

use k8s_openapi::api::core::v1::{PodSpec, Toleration};

/// Seconds for which a Pod stays on such a node. The node itself counts as lost only after about fifty seconds without a sign of life.
/// Where more than half of the nodes of a zone, or all nodes, are lost at a time, Kubernetes evicts few Pods or none.
const SECONDS: i64 = 30;
/// The taints of such nodes.
const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// Adds the tolerations for the taints that no toleration of the spec is about.
pub(super) fn add_defaults(pod: &mut PodSpec) {
    let tolerations = pod.tolerations.get_or_insert_default();
    for taint in TAINTS {
        if !tolerations.iter().any(|given| is_about(given, taint)) {
            tolerations.push(Toleration {
                key: Some(taint.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(SECONDS),
                value: None,
            });
        }
    }
}

/// Returns whether a toleration decides about the eviction from nodes with this taint. Kubernetes asks the same before it adds its own.
fn is_about(toleration: &Toleration, taint: &str) -> bool {
    let is = |field: &Option<String>, value: &str| {
        field
            .as_deref()
            .is_none_or(|it| it.is_empty() || it == value)
    };
    is(&toleration.key, taint) && is(&toleration.effect, "NoExecute")
}
