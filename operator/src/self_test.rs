//! `operator self-test`: verifies that a running operator reconciles a LiveCluster without Pods. `helm test` runs it.

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use livecluster_api::LiveCluster;
use serde_json::json;
use tokio::time::{Instant, interval, timeout_at};

/// The options of `operator self-test`.
#[derive(Args, Clone, Debug)]
pub struct SelfTestOptions {
    /// Namespace of the LiveCluster. The operator must watch it.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Seconds until the test fails.
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
}

/// The test failed.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// A call to the API server failed.
    #[error("failed to {action}")]
    Api {
        /// The attempted action.
        action: &'static str,
        /// The error of the call.
        source: kube::Error,
    },
    /// An expected state was not reached in time.
    #[error("not within {seconds} s: {expected} (does a running operator watch this namespace?)")]
    TimedOut {
        /// The expected state.
        expected: &'static str,
        /// The timeout.
        seconds: u64,
    },
}

/// Creates a LiveCluster, waits for its Deployments and its status, deletes it, and waits until they are deleted.
///
/// # Errors
/// See [`SelfTestError`]. The LiveCluster is deleted in any case.
pub async fn run(options: SelfTestOptions) -> Result<(), SelfTestError> {
    let client = Client::try_default().await;
    verify(client.map_err(api("reach the API server"))?, &options).await
}

async fn verify(client: Client, options: &SelfTestOptions) -> Result<(), SelfTestError> {
    // The definition may be newer than this version: its LiveClusters may have fields that the type lacks.
    let resource = ApiResource::erase::<LiveCluster>(&());
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &options.namespace, &resource);
    let deployments: Api<Deployment> = Api::namespaced(client, &options.namespace);

    let spec = json!({"origins": {"replicas": 0}, "edges": {"replicas": 0}});
    let mut cluster = DynamicObject::new("", &resource).data(json!({ "spec": spec }));
    cluster.metadata.name = None;
    cluster.metadata.generate_name = Some("helm-test-".to_owned());
    let created = clusters
        .create(&PostParams::default(), &cluster)
        .await
        .map_err(api("create a LiveCluster"))?;
    let name = created.name_any();
    println!(
        "created LiveCluster {}/{name} without Pods",
        options.namespace
    );

    let deadline = Deadline::after(options.timeout_seconds);
    let reconciled = wait_until_reconciled(&deadline, &clusters, &deployments, &created).await;
    let deleted = clusters
        .delete(&name, &DeleteParams::default())
        .await
        .map_err(api("delete the LiveCluster"));
    reconciled?;
    deleted?;
    deadline
        .wait_until("its Deployments are deleted", || async {
            Ok(deployments
                .get_opt(&format!("{name}-edge"))
                .await?
                .is_none()
                && deployments
                    .get_opt(&format!("{name}-origin"))
                    .await?
                    .is_none())
        })
        .await
}

async fn wait_until_reconciled(
    deadline: &Deadline,
    clusters: &Api<DynamicObject>,
    deployments: &Api<Deployment>,
    created: &DynamicObject,
) -> Result<(), SelfTestError> {
    let name = created.name_any();
    for role in ["origin", "edge"] {
        let deployment = format!("{name}-{role}");
        deadline
            .wait_until("the operator has created the Deployments", || async {
                let found = deployments.get_opt(&deployment).await?;
                let owners = found.map(|it| it.metadata.owner_references.unwrap_or_default());
                Ok(owners.is_some_and(|owners| {
                    owners
                        .iter()
                        .any(|owner| Some(&owner.uid) == created.metadata.uid.as_ref())
                }))
            })
            .await?;
    }
    deadline
        .wait_until("the operator has written the status", || async {
            let cluster = clusters.get(&name).await?;
            let observed = cluster.data["status"]["observedGeneration"].as_i64();
            Ok(observed.is_some() && observed == created.metadata.generation)
        })
        .await
}

/// One deadline for all steps.
struct Deadline {
    seconds: u64,
    at: Instant,
}

impl Deadline {
    fn after(seconds: u64) -> Self {
        Self {
            seconds,
            at: Instant::now() + Duration::from_secs(seconds),
        }
    }

    async fn wait_until<P, F>(
        &self,
        expected: &'static str,
        mut probe: P,
    ) -> Result<(), SelfTestError>
    where
        P: FnMut() -> F,
        F: Future<Output = Result<bool, kube::Error>>,
    {
        let attempts = async {
            let mut tick = interval(Duration::from_millis(500));
            loop {
                tick.tick().await;
                if probe()
                    .await
                    .map_err(api("read the cluster and its Deployments"))?
                {
                    return Ok(());
                }
            }
        };
        let timed_out = |_| SelfTestError::TimedOut {
            expected,
            seconds: self.seconds,
        };
        timeout_at(self.at, attempts).await.map_err(timed_out)??;
        println!("{expected}");
        Ok(())
    }
}

fn api(action: &'static str) -> impl Fn(kube::Error) -> SelfTestError {
    move |source| SelfTestError::Api { action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::fake_api::FakeApi;

    /// Acts as the operator and as a newer definition, which has a limit that the type of this version lacks.
    async fn reconcile(api: &FakeApi) {
        let path = loop {
            let paths = api.paths().into_iter();
            let mut clusters = paths.filter(|path| path.starts_with("liveclusters/"));
            match clusters.next() {
                Some(path) => break path,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        api.edit(&path, |cluster| {
            cluster["spec"]["limits"] = json!({"maxNewer": 1});
            cluster["status"]["observedGeneration"] = cluster["metadata"]["generation"].clone();
        });
        let cluster = api.object(&path).unwrap();
        let name = cluster["metadata"]["name"].as_str().unwrap();
        for role in ["origin", "edge"] {
            let owner = json!({
                "apiVersion": "livecluster.dev/v1alpha1", "kind": "LiveCluster", "name": name,
                "uid": cluster["metadata"]["uid"]
            });
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": format!("{name}-{role}"), "ownerReferences": [owner]}
            });
            api.put(&format!("deployments/{name}-{role}"), deployment);
        }
        while api.object(&path).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for role in ["origin", "edge"] {
            api.remove(&format!("deployments/{name}-{role}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_of_a_newer_definition_is_verified_and_deleted() {
        let (client, api) = FakeApi::start();
        let options = SelfTestOptions {
            namespace: "media".to_owned(),
            timeout_seconds: 60,
        };
        let (verified, ()) = tokio::join!(verify(client, &options), reconcile(&api));
        verified.unwrap();
        assert_eq!(api.paths(), Vec::<String>::new());
    }
}
