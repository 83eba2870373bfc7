//! One task per kind: a watch stream in, [`Event`]s out. Errors are retried for
//! ever; what was seen stays in force meanwhile.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use clarion_core::NodeName;
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::index::{Change, Event};
use super::read;
use crate::args::Args;

/// First pause after an error; doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// An API server that is back is noticed within this.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A watch is renewed after this, which also bounds how long a connection that
/// died silently goes unnoticed.
const WATCH_SECONDS: u32 = 290;
/// Leases come each second, our own among them: a stream silent for this long is
/// dead, and with it every other connection to that API server.
const LEASE_SILENCE: Duration = Duration::from_secs(10);

/// What the tasks share.
#[derive(Clone)]
pub(super) struct Watches {
    pub(super) client: Client,
    pub(super) events: mpsc::Sender<Event>,
    /// Counts up when the connections must be made anew.
    pub(super) reconnect: watch::Sender<u64>,
}

impl Watches {
    /// Starts the watch of every kind.
    pub(super) fn start(&self, args: &Args, tasks: &mut JoinSet<anyhow::Error>) {
        let namespace = args.namespace.as_str();
        let class = args.lb_class();
        let everywhere = watcher::Config::default();
        self.spawn(
            tasks,
            Api::<core::Service>::all(self.client.clone()),
            everywhere.clone(),
            move |service| (read::service_key(&service), read::service(&service, class.as_deref())),
            Event::Service,
        );
        self.spawn(
            tasks,
            Api::<EndpointSlice>::all(self.client.clone()),
            everywhere.clone(),
            |slice| ((slice.namespace().unwrap_or_default(), slice.name_any()), read::slice(&slice)),
            Event::Slice,
        );
        self.spawn(
            tasks,
            Api::<core::Node>::all(self.client.clone()),
            everywhere.clone(),
            |node| (NodeName::new(node.name_any()), Some(read::node(&node))),
            Event::Node,
        );
        let leases = watcher::Config::default().labels(super::lease::SELECTOR);
        self.spawn(
            tasks,
            Api::<Lease>::namespaced(self.client.clone(), namespace),
            leases,
            |lease| {
                let name = NodeName::new(lease.name_any());
                read::lease(&lease).map_or((name, None), |(node, renewal)| (node, Some(renewal)))
            },
            Event::Lease,
        );
        self.configuration(tasks, namespace, Event::Pool);
        self.configuration(tasks, namespace, Event::L2);
        self.configuration(tasks, namespace, Event::Bgp);
        self.configuration(tasks, namespace, Event::Peer);
        self.configuration(tasks, namespace, Event::Bfd);
        self.configuration(tasks, namespace, Event::Community);
    }

    fn configuration<K>(
        &self,
        tasks: &mut JoinSet<anyhow::Error>,
        namespace: &str,
        event: fn(Change<String, Arc<K>>) -> Event,
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let trim = |mut object: K| {
            object.meta_mut().managed_fields = None;
            object.meta_mut().annotations = None;
            (object.name_any(), Some(Arc::new(object)))
        };
        self.spawn(tasks, api, watcher::Config::default(), trim, event);
    }

    fn spawn<K, Key, Value>(
        &self,
        tasks: &mut JoinSet<anyhow::Error>,
        api: Api<K>,
        config: watcher::Config,
        read: impl Fn(K) -> (Key, Option<Value>) + Send + 'static,
        event: fn(Change<Key, Value>) -> Event,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
        Key: Ord + Send + 'static,
        Value: Send + 'static,
    {
        tasks.spawn(follow(self.clone(), api, config.timeout(WATCH_SECONDS), read, event));
    }
}

/// Follows one kind until the receiver of events is gone.
async fn follow<K, Key, Value>(
    watches: Watches,
    api: Api<K>,
    config: watcher::Config,
    read: impl Fn(K) -> (Key, Option<Value>),
    event: fn(Change<Key, Value>) -> Event,
) -> anyhow::Error
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    Key: Ord,
{
    let kind = K::kind(&());
    let is_lease = kind == "Lease";
    let mut reconnect = watches.reconnect.subscribe();
    let mut pause = MIN_PAUSE;
    loop {
        let mut stream = std::pin::pin!(watcher(api.clone(), config.clone()));
        let mut listed = BTreeMap::new();
        loop {
            let silence = tokio::time::sleep(if is_lease { LEASE_SILENCE } else { Duration::MAX });
            let next = tokio::select! {
                next = stream.next() => next,
                _ = reconnect.changed() => break,
                () = silence => {
                    tracing::warn!("no Lease was renewed for {LEASE_SILENCE:?}: connecting to the API server anew");
                    watches.reconnect.send_modify(|n| *n += 1);
                    continue;
                }
            };
            let change = match next {
                None => break,
                Some(Err(error)) => {
                    report(&kind, &error, pause);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                    continue;
                }
                Some(Ok(watcher::Event::Init)) => {
                    listed.clear();
                    continue;
                }
                Some(Ok(watcher::Event::InitApply(object))) => {
                    if let (key, Some(value)) = read(object) {
                        listed.insert(key, value);
                    }
                    continue;
                }
                Some(Ok(watcher::Event::InitDone)) => Change::Reset(std::mem::take(&mut listed)),
                Some(Ok(watcher::Event::Apply(object))) => match read(object) {
                    (key, Some(value)) => Change::Set(key, value),
                    (key, None) => Change::Remove(key),
                },
                Some(Ok(watcher::Event::Delete(object))) => Change::Remove(read(object).0),
            };
            pause = MIN_PAUSE;
            if watches.events.send(event(change)).await.is_err() {
                return anyhow::anyhow!("the watch of {kind} ended with its index");
            }
        }
    }
}

/// Says that a watch failed, once per spell: an API server that is away must not
/// fill the log of every node.
fn report(kind: &str, error: &watcher::Error, pause: Duration) {
    let error = error as &dyn std::error::Error;
    if pause == MIN_PAUSE {
        tracing::warn!(kind, error, "watch failed, trying again; what was seen stays in force");
    } else {
        tracing::debug!(kind, error, "watch failed again");
    }
}

/// Follows one Secret by name; the right to read it may be limited to that name.
pub(super) async fn follow_secret(
    client: Client,
    namespace: String,
    name: String,
    events: mpsc::Sender<Event>,
) -> anyhow::Error {
    let api = Api::<core::Secret>::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    let mut stream = std::pin::pin!(watcher(api, config));
    let mut pause = MIN_PAUSE;
    while let Some(next) = stream.next().await {
        match next {
            Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => {
                pause = MIN_PAUSE;
                if events.send(Event::Secret(name.clone(), read::secret(&secret))).await.is_err() {
                    break;
                }
            }
            Ok(watcher::Event::Delete(_)) => {
                tracing::warn!(
                    secret = name,
                    "a Secret that a BGPPeer names was deleted; its last password stays in use"
                );
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => {
                report(&format!("Secret {name}"), &error, pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
    anyhow::anyhow!("the watch of Secret {name} ended")
}
