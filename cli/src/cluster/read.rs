//! Requests: what the commands report on, read from the API server.

use std::fmt::Debug;

use anyhow::Context;
use clarion_config::legacy;
use clarion_controller::lease;
use clarion_daemon::Object;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ApiResource, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// All namespaces; an error if that of the configuration is not among them.
pub(super) async fn namespaces(client: &Client, configuration: &str) -> anyhow::Result<Vec<Namespace>> {
    let all = all(Api::<Namespace>::all(client.clone()), ListParams::default()).await?;
    anyhow::ensure!(
        all.iter().any(|namespace| namespace.name_any() == configuration),
        "there is no namespace {configuration:?}: say with --config-namespace where IPAddressPools are (`kubectl get ipaddresspools -A`)"
    );
    Ok(all)
}

/// The controller's Lease. Who may not read it sees `Err` with nothing wrong.
pub(super) async fn controller(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Result<Option<Lease>, ()>> {
    match Api::<Lease>::namespaced(client.clone(), namespace).get_opt(lease::NAME).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Err(())),
        read => read.map(Ok).with_context(|| format!("cannot read Lease {namespace}/{}", lease::NAME)),
    }
}

/// The ConfigMap of the first releases. Who may not read it sees none.
pub(super) async fn configmap(client: &Client, namespace: &str) -> anyhow::Result<Option<ConfigMap>> {
    match Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(legacy::NAME).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        read => read.with_context(|| format!("cannot read ConfigMap {namespace}/{}", legacy::NAME)),
    }
}

/// Objects of one of our kinds, one by one: one that cannot be read says so, as it does to
/// controller and agents, and is not the end of the others.
pub(super) async fn list<K>(client: &Client, namespace: &str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Default,
{
    let resource = ApiResource::erase::<K>(&());
    let api = Api::<Object>::namespaced_with(client.clone(), namespace, &resource);
    let objects = items(api, ListParams::default(), &resource.kind).await?;
    let read = |object: Object| {
        let (metadata, body) = object.into_parts();
        clarion_config::decode(metadata, body)
    };
    Ok(objects.into_iter().map(read).collect())
}

pub(super) async fn all<K>(api: Api<K>, params: ListParams) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    items(api, params, &K::kind(&())).await
}

async fn items<K>(api: Api<K>, params: ListParams, kind: &str) -> anyhow::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.list(&params).await {
        Ok(list) => Ok(list.items),
        // Without a reason: what is said of an unknown kind is plain text, no Status.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            anyhow::bail!(
                "the cluster does not know {kind}: install the CRDs (`kubectl apply -k manifests/base`)"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot list {kind}")),
    }
}
