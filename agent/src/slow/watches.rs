//! One task per kind: what the API server has, as [`Event`]s for the index.

use std::sync::Arc;
use std::time::Duration;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::legacy;
use clarion_core::NodeName;
use clarion_daemon::Object;
use clarion_daemon::watch::{Edit, Watch, Watches};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::index::Event;
use super::read;
use crate::args::Args;

/// Leases come each second, our own among them: a stream silent for this long is
/// dead, and with it every other connection to that API server.
const LEASE_SILENCE: Duration = Duration::from_secs(10);

/// Starts the watches, each a task whose end is a fault.
pub(super) struct Starter<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) watches: &'a Watches,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) tasks: &'a mut JoinSet<anyhow::Error>,
}

impl Starter<'_> {
    /// Every kind that is always watched.
    pub(super) fn start(&mut self, args: &Args) {
        let class = args.lb_class().map(str::to_owned);
        let services = self.everywhere::<core::Service>();
        self.follow(
            services,
            move |object| (read::service_key(&object), read::service(&object, class.as_deref())),
            Event::Service,
        );
        let slices = self.everywhere::<EndpointSlice>();
        self.follow(
            slices,
            |object| ((object.namespace().unwrap_or_default(), object.name_any()), read::slice(&object)),
            Event::Slice,
        );
        let nodes = self.everywhere::<core::Node>();
        self.follow(
            nodes,
            |object| (NodeName::new(object.name_any()), Some(read::node(&object))),
            Event::Node,
        );
        let leases = self.here::<Lease>().labels(super::lease::SELECTOR).never_silent_for(LEASE_SILENCE);
        self.follow(
            leases,
            |object| {
                let name = NodeName::new(object.name_any());
                read::lease(&object).map_or((name, None), |(node, renewal)| (node, Some(renewal)))
            },
            Event::Lease,
        );
        // That one and no other, which is all that the role allows.
        let configmap = self.here::<core::ConfigMap>().named(legacy::NAME);
        self.follow(
            configmap,
            |object| {
                let facts: core::ConfigMap = object.facts();
                (object.name_any(), Some(legacy::Source::new(&object.metadata, facts.data.as_ref())))
            },
            Event::ConfigMap,
        );
        self.configuration::<IPAddressPool>(Event::Pool);
        self.configuration::<L2Advertisement>(Event::L2);
        self.configuration::<BGPAdvertisement>(Event::Bgp);
        self.configuration::<BGPPeer>(Event::Peer);
        self.configuration::<BFDProfile>(Event::Bfd);
        self.configuration::<Community>(Event::Community);
    }

    /// One Secret by name; the right to read it may be limited to that name.
    pub(super) fn secret(&mut self, name: &str) -> AbortHandle {
        let watch = self.here::<core::Secret>().named(name);
        self.follow(
            watch,
            |object| (object.name_any(), Some(read::secret(&object))),
            |edit| {
                if let Edit::Delete(secret) = &edit {
                    tracing::warn!(
                        secret,
                        "a Secret that a BGPPeer names was deleted; its last password stays in use"
                    );
                }
                Event::Secret(edit)
            },
        )
    }

    fn configuration<K>(&mut self, event: fn(Edit<String, Arc<K>>) -> Event)
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Default + Send + Sync + 'static,
    {
        let watch = self.here::<K>();
        let read = |mut object: Object| {
            // Nobody here reads them, and kubectl keeps a copy of the object in one.
            object.metadata.annotations = None;
            let name = object.name_any();
            let (metadata, body) = object.into_parts();
            (name, Some(Arc::new(clarion_config::decode(metadata, body))))
        };
        self.follow(watch, read, event);
    }

    fn everywhere<K: Resource<DynamicType = ()>>(&self) -> Watch {
        self.watches.of(self.client, &ApiResource::erase::<K>(&()), None)
    }

    fn here<K: Resource<DynamicType = ()>>(&self) -> Watch {
        self.watches.of(self.client, &ApiResource::erase::<K>(&()), Some(self.namespace))
    }

    fn follow<Key, Value>(
        &mut self,
        watch: Watch,
        read: impl Fn(Object) -> (Key, Option<Value>) + Send + 'static,
        event: impl Fn(Edit<Key, Value>) -> Event + Send + 'static,
    ) -> AbortHandle
    where
        Key: Ord + Send + 'static,
        Value: Send + 'static,
    {
        let events = self.events.clone();
        self.tasks.spawn(async move {
            watch.follow(read, event, events).await;
            anyhow::anyhow!("a watch ended with its index")
        })
    }
}
