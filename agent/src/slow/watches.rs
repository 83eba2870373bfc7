//! One task per kind: what the API server has, as [`Event`]s for the index.

use std::time::Duration;

use clarion_api::{LABEL_PLAN, OwnerPlan};
use clarion_core::NodeName;
use clarion_daemon::watch::{Edit, Watch, Watches};
use clarion_daemon::{Object, configuration};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ApiResource;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::index::Event;
use super::read;
use crate::args::Args;

/// This node renews its Lease every few seconds: a stream silent for this long is
/// dead, and with it every other connection to that API server.
const LEASE_SILENCE: Duration = Duration::from_secs(15);

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
        let lease = self.here::<Lease>().named(&super::lease::name(&args.node_name));
        self.follow(
            lease.never_silent_for(LEASE_SILENCE),
            |object| (object.name_any(), Some(())),
            |_| Event::Lease,
        );
        let plans = self.here::<OwnerPlan>().labels(LABEL_PLAN);
        self.follow(plans, |object| (object.name_any(), Some(read::plan(&object))), Event::Plan);
        let key = self.here::<core::Secret>().named(&args.ml_secret_name);
        self.follow(key, |object| (object.name_any(), read::cluster_key(&object)), Event::Key);
        for watch in
            configuration::watch(self.watches, self.client, self.namespace, Event::Config, self.events)
        {
            self.run(watch);
        }
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
        self.run(watch.follow(read, event, self.events.clone()))
    }

    fn run(&mut self, watch: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(async move {
            watch.await;
            anyhow::anyhow!("a watch ended with its index")
        })
    }
}
