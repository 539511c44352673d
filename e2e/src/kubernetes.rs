//! Scenarios on a Kubernetes cluster: `e2e/run`.
//!
//! One scenario, one file, named by what it proves. Each has a namespace of its own, which enforces Pod Security `restricted`, as that
//! of the operator does.

use crate::scenario::{Scenario, scenarios};

mod api_server_gone;
mod attacker;
mod bad_image;
mod bad_resources;
mod deletion;
mod elastic_edges;
mod eviction;
mod explain;
mod gateway;
mod hand_edits;
mod helm;
mod hooks_away;
mod late_dns;
mod leader_failover;
mod minimal_cluster;
mod monitoring;
mod neighbours;
mod newer_definition;
mod node_drain;
mod node_loss;
mod origin_killed;
mod permissions;
mod publish_and_watch;
mod quiet;
mod readme;
mod rolling_upgrade;
mod scale_edges;
mod secrets_renewed;
mod service_types;
mod stuck_rollouts;
mod two_operators;
mod uninstall;

/// Every scenario, in the order in which they run: of those beside each other the longest first, so that none is left at the end.
/// `readme` creates a cluster when those of all others are up.
pub const KUBERNETES: &[Scenario] = scenarios! { Kubernetes:
    quiet "quiet" Beside Some("it reads the API server's audit log"),
        "a LiveCluster at which nothing changes causes no write in three minutes";
    publish_and_watch "publish-and-watch" Beside None,
        "a stream published to the origin or to an edge plays by RTMP and HTTP-FLV on every Pod";
    scale_edges "scale-edges" Beside None,
        "edges are added by a HorizontalPodAutoscaler and removed by kubectl scale, and those that leave keep their viewers";
    rolling_upgrade "rolling-upgrade" Beside Some("it loads a second image into the cluster"),
        "a new image with twenty viewers rolls both roles, shows who serves them until when, and cuts none off early";
    elastic_edges "elastic-edges" Beside None,
        "edges follow their viewers and announced events: they are added, take new viewers where there is room, and cut none off";
    readme "readme" Beside Some("it follows the README and creates one"),
        "the README's section On Kubernetes works, line by line, on a cluster of its own";
    deletion "deletion" Beside None,
        "a LiveCluster is deleted in all of Kubernetes' ways, and created again immediately";
    origin_killed "origin-killed" Beside None,
        "viewers stay and watch on when an origin dies, by kill -9 and by the loss of its Pod";
    attacker "attacker" Beside None,
        "Pods of another namespace neither pull, publish, disconnect nor read at the internal port, where no NetworkPolicy is enforced";
    monitoring "monitoring" Beside None,
        "a real Prometheus, which scrapes what the chart's monitors select, evaluates every alert and has a result for every query of the dashboard";
    gateway "gateway" Beside Some("it installs and removes the Gateway API"),
        "routes of the Gateway API are made, reported and deleted, and the operator works without it";
    stuck_rollouts "stuck-rollouts" Beside None,
        "a rollout that cannot end holds no other one: the cure of both roles takes effect, and origins roll while edges cannot";
    bad_image "bad-image" Beside None,
        "an image that does not exist stops nothing that runs, and the status names it";
    neighbours "neighbours" Beside None,
        "LiveClusters side by side, with names easily mixed up, share nothing";
    secrets_renewed "secrets-renewed" Beside None,
        "a renewed certificate and rotated publish keys take effect in running Pods, and connections stay";
    hooks_away "hooks-away" Beside Some("it runs a server of hooks on a node"),
        "hooks decide again when their server returns; while it hangs or is gone, new clients are refused or accepted by the policy, and others stay";
    two_operators "two-operators" Beside None,
        "of two operators that watch a namespace, the first one reconciles its LiveClusters, and the second one says so";
    eviction "eviction" Beside None,
        "Ready stays true while one of four edges is evicted and while further ones start, and Degraded says what is missing";
    permissions "permissions" Beside None,
        "the operator is refused nothing, and names the rule that it lacks";
    hand_edits "hand-edits" Beside None,
        "deleted and edited children come back, and fields that the operator does not own stay";
    minimal_cluster "minimal-cluster" Beside None,
        "`spec: {}` becomes a ready LiveCluster of exactly the expected objects, and its columns show numbers";
    service_types "service-types" Beside None,
        "a Service changes its type in place, and the status' URLs follow";
    explain "explain" Beside None,
        "kubectl explain reads like documentation, and the definition and every example are accepted";
    bad_resources "bad-resources" Beside None,
        "the API server refuses an invalid spec with a message that names the field";
    newer_definition "newer-definition" Alone None,
        "an operator with a newer definition ignores the fields that it does not know, and names a value that it cannot read";
    helm "helm" Alone None,
        "the chart is linted, rendered, installed, upgraded and tested, and refuses wrong values";
    leader_failover "leader-failover" Alone Some("it kills and freezes the leader"),
        "an operator works on when the leader is killed, frozen or deleted, and never two at the same time";
    api_server_gone "api-server-gone" BreaksCluster Some("it stops the API server"),
        "streams go on and start without the API server, and the operator recovers by itself";
    late_dns "late-dns" BreaksCluster Some("it stops the cluster's DNS"),
        "a LiveCluster created without DNS becomes ready when its edges have found their origins, and every Pod serves every stream of two origins";
    node_drain "node-drain" BreaksCluster Some("it drains a node of everything that runs on it"),
        "kubectl drain keeps the disruption budgets, shows who serves on until when, ends, and streams go on";
    node_loss "node-loss" BreaksCluster Some("it takes a node's power away"),
        "streams go on when a node loses its power, and its Pods are replaced";
    uninstall "uninstall" BreaksCluster None,
        "streams go on and start after helm uninstall, and nothing is left when their LiveCluster is deleted";
};
