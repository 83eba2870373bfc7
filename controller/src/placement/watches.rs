//! The watches that only placement needs. Each object is reduced before it is kept.

use std::sync::Arc;

use clarion_api::{AGENT_LEASE_PREFIX, AGENT_LEASES, LABEL_PLAN, OwnerPlan};
use clarion_core::NodeName;
use clarion_daemon::watch::Watches;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ApiResource;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::News;
use super::read::{NodeView, Slice};
use crate::plans::Stored;

/// Starts those that are always needed. They end when the receiver is gone.
pub fn start(
    client: &Client,
    namespace: &str,
    watches: &Watches,
    news: &mpsc::Sender<News>,
    tracker: &TaskTracker,
) -> Vec<JoinHandle<()>> {
    let nodes = watches.of(client, &ApiResource::erase::<Node>(&()), None).follow(
        |object| {
            let node = Node { metadata: object.metadata.clone(), ..object.facts() };
            (NodeName::new(node.name_any()), Some(Arc::new(NodeView::read(&node))))
        },
        News::Node,
        news.clone(),
    );
    // Of a Lease nothing matters but that it is there: it tells which nodes have an agent.
    let leases =
        watches.of(client, &ApiResource::erase::<Lease>(&()), Some(namespace)).labels(AGENT_LEASES).follow(
            |lease| {
                (
                    NodeName::new(lease.name_any().strip_prefix(AGENT_LEASE_PREFIX).unwrap_or_default()),
                    Some(()),
                )
            },
            News::Agent,
            news.clone(),
        );
    vec![tracker.spawn(nodes), tracker.spawn(leases)]
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
