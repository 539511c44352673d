//! What is proven, one file each. A number such as T2 is that of the test in the operator's test list.

mod api_server_gone;
mod bad_image;
mod bad_resources;
mod deletion;
mod explain;
mod foreign_objects;
mod hand_edits;
mod helm;
mod late_dns;
mod leader_failover;
mod minimal_cluster;
mod neighbours;
mod node_drain;
mod node_loss;
mod origin_killed;
mod permissions;
mod publish_and_watch;
mod quiet;
mod readme;
mod restricted;
mod rolling_upgrade;
mod scale_edges;
mod service_types;
mod two_origins;
mod uninstall;

use crate::cluster::Scenario;

/// Every scenario, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario::beside(
        "quiet",
        "T22: a cluster at which nothing changes causes no write in three minutes",
        |stage| Box::pin(quiet::run(stage)),
    ),
    Scenario::beside(
        "minimal-cluster",
        "T2: `spec: {}` becomes a ready cluster of exactly the expected objects, and its columns show numbers",
        |stage| Box::pin(minimal_cluster::run(stage)),
    ),
    Scenario::beside(
        "publish-and-watch",
        "T3: published to the origin and to an edge, watched by RTMP and HTTP-FLV on every node",
        |stage| Box::pin(publish_and_watch::run(stage)),
    ),
    Scenario::beside(
        "two-origins",
        "T4: two origins, five streams, and every node has every stream",
        |stage| Box::pin(two_origins::run(stage)),
    ),
    Scenario::beside(
        "scale-edges",
        "T5: edges come and go by kubectl scale and by the spec, and no viewer is cut off",
        |stage| Box::pin(scale_edges::run(stage)),
    ),
    Scenario::beside(
        "origin-killed",
        "T9: an origin dies, by kill -9 and by the loss of its pod, and its viewers stay and see on",
        |stage| Box::pin(origin_killed::run(stage)),
    ),
    Scenario::beside(
        "rolling-upgrade",
        "T11: a new image while twenty people watch: both roles roll, nobody is cut off early",
        |stage| Box::pin(rolling_upgrade::run(stage)),
    )
    .needs_kind("it loads a second image into the cluster"),
    Scenario::beside(
        "bad-image",
        "T13: with an image that nobody has, what runs goes on, and the status names it",
        |stage| Box::pin(bad_image::run(stage)),
    ),
    Scenario::beside(
        "bad-resources",
        "T15: what cannot be is refused by the API server, in words that name the field",
        |stage| Box::pin(bad_resources::run(stage)),
    ),
    Scenario::beside(
        "service-types",
        "T18: a Service changes its type in place, and the status' URLs follow",
        |stage| Box::pin(service_types::run(stage)),
    ),
    Scenario::beside(
        "neighbours",
        "T19: clusters side by side, with names easily mixed up, know nothing of one another",
        |stage| Box::pin(neighbours::run(stage)),
    ),
    Scenario::beside(
        "foreign-objects",
        "T20: somebody else's object of the same name is left alone, and the status says so",
        |stage| Box::pin(foreign_objects::run(stage)),
    ),
    Scenario::beside(
        "hand-edits",
        "T21: deleted and edited children come back, edits of what is not the operator's stay",
        |stage| Box::pin(hand_edits::run(stage)),
    ),
    Scenario::beside(
        "permissions",
        "T25: the operator is refused nothing, and with one rule too few it says which",
        |stage| Box::pin(permissions::run(stage)),
    ),
    Scenario::beside(
        "restricted",
        "T26: operator, helm test and nodes are admitted by Pod Security `restricted`",
        |stage| Box::pin(restricted::run(stage)),
    ),
    Scenario::beside(
        "deletion",
        "T27: deleted in all of Kubernetes' ways, and made again at once",
        |stage| Box::pin(deletion::run(stage)),
    ),
    Scenario::beside(
        "explain",
        "T32: kubectl explain reads like documentation, and the definition is small enough",
        |stage| Box::pin(explain::run(stage)),
    ),
    Scenario::alone(
        "helm",
        "T1: the chart is linted, rendered, installed, upgraded and tested; wrong values are refused",
        |stage| Box::pin(helm::run(stage)),
    ),
    Scenario::alone(
        "leader-failover",
        "T23: the leading operator is killed and deleted, and another one leads, never two at once",
        |stage| Box::pin(leader_failover::run(stage)),
    ),
    Scenario::alone(
        "api-server-gone",
        "T24: without API server or operator streams go on, and the operator recovers by itself",
        |stage| Box::pin(api_server_gone::run(stage)),
    )
    .needs_kind("it takes the API server away"),
    Scenario::alone(
        "late-dns",
        "a LiveCluster made while there is no DNS is ready only when its edges have found their origins",
        |stage| Box::pin(late_dns::run(stage)),
    )
    .needs_kind("it takes the cluster's DNS away"),
    Scenario::alone(
        "node-drain",
        "T14: kubectl drain of a machine keeps the disruption budgets, ends, and streams live",
        |stage| Box::pin(node_drain::run(stage)),
    )
    .needs_kind("it drains a machine of everything that runs on it"),
    Scenario::alone(
        "node-loss",
        "T30: a machine loses its power: streams go on and its pods are made anew",
        |stage| Box::pin(node_loss::run(stage)),
    )
    .needs_kind("it takes a machine's power away"),
    Scenario::alone(
        "uninstall",
        "T28: helm uninstall with a stream running: the stream lives, and nothing is left afterwards",
        |stage| Box::pin(uninstall::run(stage)),
    ),
    Scenario::alone(
        "readme",
        "the README's section On Kubernetes, line by line, on a cluster of its own",
        |stage| Box::pin(readme::run(stage)),
    )
    .needs_kind("it follows the README and makes one"),
];
