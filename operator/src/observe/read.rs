//! Reads what there is of a cluster: one list for each kind, all at once.

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::api::ListParams;
use kube::core::{DynamicObject, NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use livecluster_api::LiveCluster;
use livecluster_api::names::{self, role_name};
use media_config::Role;

use crate::desired::Kind;
use crate::k8s::client::{CallError, Calls};
use crate::observe::observed::Observed;
use crate::reconcile::apply::Live;
use crate::status::{MissingReference, ReferenceKind, References};

/// The way to the API, for reading.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The client.
    pub client: &'a Client,
    /// Limits and counts calls.
    pub calls: &'a Calls,
}

impl Reader<'_> {
    /// A cluster, as it is now; nothing when it is gone.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn cluster(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<LiveCluster>, CallError> {
        let api: Api<LiveCluster> = Api::namespaced(self.client.clone(), namespace);
        self.calls
            .call("get", "LiveCluster", name, api.get_opt(name))
            .await
    }

    /// Every object with the cluster's labels, and what they say about its nodes.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn children(
        &self,
        cluster: &LiveCluster,
    ) -> Result<(Vec<Live>, Observed), CallError> {
        let lists = Kind::ALL.map(|kind| self.list(cluster, kind));
        let (lists, pods) =
            futures::try_join!(futures::future::try_join_all(lists), self.pods(cluster))?;
        let live: Vec<Live> = lists.into_iter().flatten().collect();
        let mut observed = Observed {
            pods,
            ..Observed::default()
        };
        for found in &live {
            if is_controlled_by(&found.object, cluster) {
                observed.take(found.kind, &found.object);
            }
        }
        Ok((live, observed))
    }

    async fn list(&self, cluster: &LiveCluster, kind: Kind) -> Result<Vec<Live>, CallError> {
        let resource = kind.resource();
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &resource);
        let params = ListParams::default().labels(&names::children_selector(cluster));
        let call = api.list(&params);
        let list = self.calls.call("list", &resource.kind, "", call).await?;
        let live = list.items.into_iter().map(|object| Live { kind, object });
        Ok(live.collect())
    }

    async fn pods(&self, cluster: &LiveCluster) -> Result<Vec<Pod>, CallError> {
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let params = ListParams::default().labels(&names::children_selector(cluster));
        let list = self
            .calls
            .call("list", "Pod", "", api.list(&params))
            .await?;
        Ok(list.items)
    }

    /// Whether what the spec names is there. Of a Secret only the metadata is asked for.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn references(
        &self,
        cluster: &LiveCluster,
        check_secrets: bool,
    ) -> Result<References, CallError> {
        let mut references = References::default();
        let secrets = &cluster.spec.image_pull_secrets;
        if !check_secrets {
            references.secrets_unchecked = !secrets.is_empty();
        }
        for (index, secret) in secrets.iter().enumerate().filter(|_| check_secrets) {
            let field = format!("spec.imagePullSecrets[{index}]");
            let missing = self
                .missing::<Secret>(cluster, ReferenceKind::Secret, &secret.name, field)
                .await?;
            references.missing.extend(missing);
        }
        for role in [Role::Origin, Role::Edge] {
            if let Some(name) = &cluster.spec.nodes(role).service_account_name {
                let field = format!("spec.{}s.serviceAccountName", role_name(role));
                let kind = ReferenceKind::ServiceAccount;
                let missing = self
                    .missing::<ServiceAccount>(cluster, kind, name, field)
                    .await?;
                references.missing.extend(missing);
            }
        }
        Ok(references)
    }

    async fn missing<K>(
        &self,
        cluster: &LiveCluster,
        kind: ReferenceKind,
        name: &str,
        field: String,
    ) -> Result<Option<MissingReference>, CallError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        PartialObjectMeta<K>: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), &namespace);
        let call = api.get_opt(name);
        let found = self.calls.call("get", kind.name(), name, call).await?;
        Ok(found.is_none().then(|| MissingReference {
            kind,
            name: name.to_owned(),
            field,
        }))
    }
}

fn is_controlled_by(object: &DynamicObject, cluster: &LiveCluster) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == cluster.uid().as_ref())
}
