//! `operator self-test`: proves that an operator is at work, by what it does to a LiveCluster without nodes. `helm test` runs it.

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::{LiveCluster, LiveClusterSpec};
use tokio::time::{Instant, interval, timeout_at};

/// What to test, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The namespace in which the LiveCluster is made: one that the operator watches.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Seconds until the operator must have done its work.
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
}

/// Why the test failed.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The API server does not do what it is asked for.
    #[error("{doing}")]
    Api {
        /// What was tried.
        doing: &'static str,
        /// What came back.
        source: kube::Error,
    },
    /// The operator did not do its work in time.
    #[error(
        "not within {seconds} s: {expected} (is an operator running that watches this namespace?)"
    )]
    Late {
        /// What was waited for.
        expected: &'static str,
        /// For how long.
        seconds: u64,
    },
}

/// Makes a LiveCluster, waits for its Deployments and its status, deletes it and waits until they are gone.
///
/// # Errors
/// See [`SelfTestError`]. The LiveCluster is deleted in any case.
pub async fn run(options: Options) -> Result<(), SelfTestError> {
    let client = Client::try_default()
        .await
        .map_err(api("reach the API server"))?;
    let clusters: Api<LiveCluster> = Api::namespaced(client.clone(), &options.namespace);
    let deployments: Api<Deployment> = Api::namespaced(client, &options.namespace);

    let mut wanted = LiveCluster::new("", LiveClusterSpec::default());
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some("helm-test-".to_owned());
    wanted.spec.origins.replicas = 0;
    wanted.spec.edges.replicas = 0;
    let made = clusters
        .create(&PostParams::default(), &wanted)
        .await
        .map_err(api("create a LiveCluster"))?;
    let name = made.name_any();
    println!(
        "made LiveCluster {}/{name} without nodes",
        options.namespace
    );

    let patience = Patience::of(options.timeout_seconds);
    let came_alive = comes_alive(&patience, &clusters, &deployments, &made).await;
    let deleted = clusters
        .delete(&name, &DeleteParams::default())
        .await
        .map_err(api("delete the LiveCluster"));
    came_alive?;
    deleted?;
    patience
        .until("its Deployments are gone with it", || async {
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

async fn comes_alive(
    patience: &Patience,
    clusters: &Api<LiveCluster>,
    deployments: &Api<Deployment>,
    made: &LiveCluster,
) -> Result<(), SelfTestError> {
    let name = made.name_any();
    for role in ["origin", "edge"] {
        let deployment = format!("{name}-{role}");
        patience
            .until("the operator makes the Deployments", || async {
                let found = deployments.get_opt(&deployment).await?;
                let owners = found.map(|it| it.metadata.owner_references.unwrap_or_default());
                Ok(owners.is_some_and(|owners| {
                    owners
                        .iter()
                        .any(|owner| Some(&owner.uid) == made.meta().uid.as_ref())
                }))
            })
            .await?;
    }
    patience
        .until("the operator writes the status", || async {
            let status = clusters.get(&name).await?.status;
            let observed = status.and_then(|status| status.observed_generation);
            Ok(observed.is_some() && observed == made.metadata.generation)
        })
        .await
}

/// One deadline for all steps.
struct Patience {
    seconds: u64,
    deadline: Instant,
}

impl Patience {
    fn of(seconds: u64) -> Self {
        Self {
            seconds,
            deadline: Instant::now() + Duration::from_secs(seconds),
        }
    }

    async fn until<P, F>(&self, expected: &'static str, mut probe: P) -> Result<(), SelfTestError>
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
                    .map_err(api("look at what the operator made"))?
                {
                    return Ok(());
                }
            }
        };
        let late = |_| SelfTestError::Late {
            expected,
            seconds: self.seconds,
        };
        timeout_at(self.deadline, attempts).await.map_err(late)??;
        println!("{expected}");
        Ok(())
    }
}

fn api(doing: &'static str) -> impl Fn(kube::Error) -> SelfTestError {
    move |source| SelfTestError::Api { doing, source }
}
