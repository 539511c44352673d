//! Types and reasons of the conditions in the status of a LiveCluster.

/// Type of a condition: streams can be published and played. It accepts what the disruption budgets and a scale-up allow.
pub const READY: &str = "Ready";
/// Type of a condition: Pods or addresses are missing that the spec asks for, or the operator fails to carry it out.
pub const DEGRADED: &str = "Degraded";
/// Type of a condition: enough origin Pods are available.
pub const ORIGINS_AVAILABLE: &str = "OriginsAvailable";
/// Type of a condition: enough edge Pods are available.
pub const EDGES_AVAILABLE: &str = "EdgesAvailable";
/// Type of a condition: a rollout or a change of the number of Pods is under way.
pub const PROGRESSING: &str = "Progressing";
/// Type of a condition, with autoscaling only: the edges respond, and their number follows their load.
pub const AUTOSCALING_ACTIVE: &str = "AutoscalingActive";
/// Type of a condition, with `spec.gateway` only: the Gateways accept every route.
pub const ROUTES_ACCEPTED: &str = "RoutesAccepted";
/// Type of a condition, with announced events only: their edges are ready, or will be added in time.
pub const EVENT_CAPACITY_READY: &str = "EventCapacityReady";
/// Type of a condition: every object that the spec refers to exists.
pub const REFERENCES_RESOLVED: &str = "ReferencesResolved";
/// Type of a condition: the memory of a Pod is short, so that its streams buffer less than configured, or it refuses publishers.
pub const MEMORY_PRESSURE: &str = "MemoryPressure";
/// Type of a condition: clients need a credential or an allowed address to publish.
pub const PUBLISH_PROTECTED: &str = "PublishProtected";
/// Type of a condition: clients need a credential or an allowed address to play.
pub const PLAY_PROTECTED: &str = "PlayProtected";
