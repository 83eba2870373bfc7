//! One task a kind: watches it for ever and sends what it sees as [`Change`]s.
//!
//! Objects are reduced here, before they are kept.

use std::sync::Arc;

use clarion_core::{NodeName, ServiceKey};
use clarion_daemon::watch::{Edit, Watches};
use clarion_daemon::{Object, configuration};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::api::ApiResource;
use kube::{Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::index::Change;
use crate::placement::NodeView;
use crate::service::ServiceView;

/// Changes that may wait for the index. The index is quick; a full queue makes the
/// watches wait, which the API server buffers.
pub const QUEUE: usize = 1024;

/// Starts all watches on the tracker. They end when the receiver of `changes` is gone.
///
/// Each time `terms` counts up, Services are listed anew from the API server's present
/// state; [`Change::Listed`] says of which term a list is.
pub fn start(
    client: &Client,
    namespace: &str,
    class: Option<&str>,
    watches: &Watches,
    changes: &mpsc::Sender<Change>,
    terms: watch::Receiver<u64>,
    tracker: &TaskTracker,
) -> Vec<JoinHandle<()>> {
    let everywhere = |resource: ApiResource| watches.of(client, &resource, None);
    let class = class.map(str::to_owned);
    let services = services(client.clone(), watches.clone(), class, changes.clone(), terms);
    // Of a namespace nothing but its labels matters.
    let namespaces = everywhere(ApiResource::erase::<Namespace>(&())).follow(
        |object| (object.name_any(), Some(Arc::new(object.metadata.labels.unwrap_or_default()))),
        Change::Namespace,
        changes.clone(),
    );
    let nodes = everywhere(ApiResource::erase::<Node>(&())).follow(
        |object| {
            let node = Node { metadata: object.metadata.clone(), ..object.facts() };
            (NodeName::new(node.name_any()), Some(Arc::new(NodeView::read(&node))))
        },
        Change::Node,
        changes.clone(),
    );
    let configuration = configuration::watch(watches, client, namespace, Change::Config, changes);
    let mut all = vec![tracker.spawn(services), tracker.spawn(namespaces), tracker.spawn(nodes)];
    all.extend(configuration.into_iter().map(|watch| tracker.spawn(watch)));
    all
}

/// Watches Services, and begins again with a list when another term of leadership begins.
/// A stream may lag behind what the former leader wrote last; whoever decided by that
/// would give away what is taken.
async fn services(
    client: Client,
    watches: Watches,
    class: Option<String>,
    changes: mpsc::Sender<Change>,
    mut terms: watch::Receiver<u64>,
) {
    let read = |object: Object| {
        let key = ServiceKey::new(object.namespace().unwrap_or_default(), object.name_any());
        let service = Service { metadata: object.metadata.clone(), ..object.facts() };
        (key, ServiceView::read(&service, class.as_deref()).map(Arc::new))
    };
    loop {
        let term = *terms.borrow_and_update();
        let change = |edit| match edit {
            Edit::Reset(all) => Change::Listed(term, all),
            edit => Change::Service(edit),
        };
        let watch = watches.of(&client, &ApiResource::erase::<Service>(&()), None);
        tokio::select! {
            () = watch.follow(read, change, changes.clone()) => return,
            Ok(()) = terms.changed() => {}
        }
    }
}
