//! The watches that only placement needs. Each object is reduced before it is kept.

use std::sync::Arc;

use clarion_api::{AGENT_LEASE_PREFIX, AGENT_LEASES, LABEL_PLAN, OwnerPlan};
use clarion_core::NodeName;
use clarion_daemon::watch::Watches;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ApiResource;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use super::News;
use super::read::Slice;
use crate::plans::Stored;

/// Watches which nodes have an agent, until nobody listens. Of their Leases nothing matters but
/// that they are there.
pub fn agents(
    client: &Client,
    namespace: &str,
    watches: &Watches,
    news: mpsc::Sender<News>,
) -> impl Future<Output = ()> + Send + use<> {
    watches.of(client, &ApiResource::erase::<Lease>(&()), Some(namespace)).labels(AGENT_LEASES).follow(
        |lease| {
            (NodeName::new(lease.name_any().strip_prefix(AGENT_LEASE_PREFIX).unwrap_or_default()), Some(()))
        },
        News::Agent,
        news,
    )
}

/// Watches EndpointSlices until nobody listens.
pub fn slices(
    client: &Client,
    watches: &Watches,
    news: mpsc::Sender<News>,
) -> impl Future<Output = ()> + Send + use<> {
    watches.of(client, &ApiResource::erase::<EndpointSlice>(&()), None).follow(
        |object| {
            let slice = EndpointSlice { metadata: object.metadata.clone(), ..object.facts() };
            let key = (slice.namespace().unwrap_or_default(), slice.name_any());
            (key, Slice::read(&slice).map(Arc::new))
        },
        News::Slice,
        news,
    )
}

/// Watches which versions of OwnerPlans are stored, until nobody listens.
pub fn plans(
    client: &Client,
    namespace: &str,
    watches: &Watches,
    news: mpsc::Sender<News>,
) -> impl Future<Output = ()> + Send + use<> {
    watches.of(client, &ApiResource::erase::<OwnerPlan>(&()), Some(namespace)).labels(LABEL_PLAN).follow(
        |plan| (plan.name_any(), Some(Stored::of(&plan.metadata))),
        News::Plan,
        news,
    )
}
