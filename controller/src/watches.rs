//! One task a kind: watches it for ever and sends what it sees as [`Change`]s.
//!
//! Objects are reduced here, before they are kept. A broken watch is taken up again
//! with growing pauses; what is known stays meanwhile, so losing the API server changes
//! nothing that was assigned.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use clarion_core::Labels;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::index::{Change, Edit};
use crate::logging::chain;
use crate::service::ServiceView;

/// Changes that may wait for the index. The index is quick; a full queue makes the
/// watches wait, which the API server buffers.
pub const QUEUE: usize = 1024;

/// Pauses between attempts at a watch: quick at first, so that a restart of the API
/// server is hardly felt, and never so long that its return goes unnoticed.
#[derive(Debug)]
struct Pauses(Duration);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause.mul_f64(rand::random_range(0.75..1.25)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// Starts all watches on the tracker. They end when the receiver of `changes` is gone.
pub fn start(
    client: &Client,
    namespace: &str,
    class: Option<&str>,
    changes: &mpsc::Sender<Change>,
    tracker: &TaskTracker,
) -> Vec<tokio::task::JoinHandle<()>> {
    let class = class.map(str::to_owned);
    let services = watch(
        Api::<Service>::all(client.clone()),
        "services",
        |service| clarion_core::ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any()),
        move |service| ServiceView::read(service, class.as_deref()).map(Arc::new),
        Change::Service,
        changes.clone(),
    );
    // PartialObjectMeta: of a namespace nothing but its labels matters.
    let namespaces = watch(
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        "namespaces",
        ResourceExt::name_any,
        |namespace| Some(Arc::new(Labels::clone(namespace.labels()))),
        Change::Namespace,
        changes.clone(),
    );
    macro_rules! objects {
        ($kind:ident, $plural:literal, $change:path) => {
            tracker.spawn(watch(
                Api::<clarion_api::$kind>::namespaced(client.clone(), namespace),
                $plural,
                |object| object.name_any(),
                |object| Some(Arc::new(stripped(object.clone()))),
                $change,
                changes.clone(),
            ))
        };
    }
    vec![
        tracker.spawn(services),
        tracker.spawn(namespaces),
        objects!(IPAddressPool, "ipaddresspools", Change::Pool),
        objects!(L2Advertisement, "l2advertisements", Change::L2),
        objects!(BGPAdvertisement, "bgpadvertisements", Change::Bgp),
        objects!(BGPPeer, "bgppeers", Change::Peer),
        objects!(BFDProfile, "bfdprofiles", Change::Bfd),
        objects!(Community, "communities", Change::Community),
    ]
}

/// An object without what nobody here reads and most of its memory is.
fn stripped<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// Watches one kind until nobody listens. What `view` does not want counts as gone.
async fn watch<O, K, V>(
    api: Api<O>,
    kind: &'static str,
    key: impl Fn(&O) -> K + Send,
    view: impl Fn(&O) -> Option<V> + Send,
    change: impl Fn(Edit<K, V>) -> Change + Send,
    changes: mpsc::Sender<Change>,
) where
    O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Ord,
{
    let stream = watcher::watcher(api, watcher::Config::default()).backoff(Pauses(FIRST_PAUSE));
    let mut stream = std::pin::pin!(stream.into_stream());
    let mut list = BTreeMap::new();
    let mut failing = false;
    while let Some(event) = stream.next().await {
        let edit = match event {
            Ok(event) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(kind, "watch works again");
                }
                match event {
                    Event::Init => {
                        list.clear();
                        continue;
                    }
                    Event::InitApply(object) => {
                        if let Some(view) = view(&object) {
                            list.insert(key(&object), view);
                        }
                        continue;
                    }
                    Event::InitDone => Edit::Reset(std::mem::take(&mut list)),
                    Event::Apply(object) => match view(&object) {
                        Some(view) => Edit::Apply(key(&object), view),
                        None => Edit::Delete(key(&object)),
                    },
                    Event::Delete(object) => Edit::Delete(key(&object)),
                }
            }
            Err(error) => {
                // Once per outage, not once per attempt.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        kind,
                        error = chain(&error),
                        "watch interrupted, will retry; what is known stays"
                    );
                }
                continue;
            }
        };
        if changes.send(change(edit)).await.is_err() {
            return;
        }
    }
}
