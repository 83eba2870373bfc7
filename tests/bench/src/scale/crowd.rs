//! Many Services at once: created by a few workers, watched until all have what they
//! should have; and the rival that makes the same writes itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::{Cluster, FOREIGN_ADDRESS, FOREIGN_CLASS, address};

/// Who creates Services at the same time.
pub const WORKERS: usize = 8;
/// The namespace of the Services and of the pod behind them.
pub const NAMESPACE: &str = "crowd";
/// The events of a Service: one of the allocation, one of the announcement.
const EVENTS_EACH: usize = 2;
/// Label `side` of the rival's Services, and so of their EndpointSlices.
const RIVAL: &str = "rival";
/// If nothing more comes for so long, nothing will.
const STALL: Duration = Duration::from_secs(60);
/// Nor if something is not gone after so long.
const GONE: Duration = Duration::from_secs(120);
/// A watch is opened anew after this (seconds); the API server allows no more than 295.
const WATCH_SECONDS: u32 = 240;

/// How long a crowd took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// Until the last Service had its address.
    pub addresses: Duration,
    /// Until the last status object and event was written, too.
    pub everything: Duration,
}

/// A Service of the crowd. The label keeps kube-proxy from programming ten thousand
/// Services on each of the lab's nodes, which share their cores with what is measured.
/// There are fewer node ports than Services, so none has any.
fn service(name: &str, class: Option<&str>) -> Result<Service> {
    let side = if class.is_some() { RIVAL } else { "ours" };
    let value = json!({
        "metadata": {"name": name, "labels": {"service.kubernetes.io/service-proxy-name": "bench", "side": side}},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": class, "selector": {"app": "crowd"},
            "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    });
    Ok(serde_json::from_value(value)?)
}

/// Services `PREFIX-0` to `PREFIX-(count-1)`, created by [`WORKERS`] workers.
///
/// # Errors
/// When the API server refuses one, or something does not come.
pub fn ours(cluster: &Cluster, prefix: &str, count: usize) -> Result<Took> {
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let events: Api<Event> = Api::namespaced(cluster.client(), NAMESPACE);
    cluster.block(async {
        let since = services.list_metadata(&ListParams::default().limit(1)).await?;
        let since = since.metadata.resource_version.context("a list without version")?;
        let begin = Instant::now();
        let next = AtomicUsize::new(0);
        let workers = try_join_all((0..WORKERS).map(|_| create(&services, &names, &next, None)));
        let (_, addresses, everything) = futures::try_join!(
            workers,
            all_addressed(&services, since.clone(), &names, begin),
            all_told(&events, since, count, begin)
        )?;
        Ok(Took { addresses, everything })
    })
}

/// One worker: creates the next Service of the list until there is none.
async fn create(
    services: &Api<Service>,
    names: &[String],
    next: &AtomicUsize,
    class: Option<&str>,
) -> Result<()> {
    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
        services.create(&PostParams::default(), &service(name, class)?).await?;
    }
    Ok(())
}

/// Time from `begin` until a watch has shown an address of every Service.
async fn all_addressed(
    services: &Api<Service>,
    mut since: String,
    names: &[String],
    begin: Instant,
) -> Result<Duration> {
    let mut missing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    loop {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let mut seen = Box::pin(services.watch(&params, &since).await?);
        loop {
            let next = tokio::time::timeout(STALL, seen.try_next()).await;
            let next = next.with_context(|| format!("{} Services have no address", missing.len()))??;
            match next {
                Some(WatchEvent::Added(service) | WatchEvent::Modified(service)) => {
                    since = service.metadata.resource_version.clone().unwrap_or(since);
                    if address(&service).is_some() {
                        missing.remove(service.metadata.name.as_deref().unwrap_or_default());
                    }
                    if missing.is_empty() {
                        return Ok(begin.elapsed());
                    }
                }
                Some(WatchEvent::Error(status)) => bail!("the watch broke: {}", status.message),
                Some(_) => {}
                None => break,
            }
        }
    }
}

/// Time from `begin` until a watch has shown both events of `count` Services. The one of
/// the announcement is the last of all writes for a Service. What the lab's own
/// controllers complain of is of another type.
async fn all_told(events: &Api<Event>, mut since: String, count: usize, begin: Instant) -> Result<Duration> {
    let mut missing = EVENTS_EACH * count;
    loop {
        let params = WatchParams::default().timeout(WATCH_SECONDS).fields("type=Normal");
        let mut seen = Box::pin(events.watch_metadata(&params, &since).await?);
        loop {
            let next = tokio::time::timeout(STALL, seen.try_next()).await;
            match next.with_context(|| format!("{missing} events did not come"))?? {
                Some(WatchEvent::Added(event)) => {
                    since = event.metadata.resource_version.unwrap_or(since);
                    missing -= 1;
                    if missing == 0 {
                        return Ok(begin.elapsed());
                    }
                }
                Some(WatchEvent::Error(status)) => bail!("the watch broke: {}", status.message),
                Some(_) => {}
                None => break,
            }
        }
    }
}

/// As many Services of a class that nobody serves, and nothing after it.
///
/// # Errors
/// When the API server refuses one.
pub fn creations(cluster: &Cluster, prefix: &str, count: usize) -> Result<Duration> {
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    cluster.block(async {
        let begin = Instant::now();
        let next = AtomicUsize::new(0);
        try_join_all((0..WORKERS).map(|_| create(&services, &names, &next, Some(FOREIGN_CLASS)))).await?;
        Ok(begin.elapsed())
    })
}

/// As many Services of a class that nobody serves, and for each the very writes that
/// Clarion makes, one after the other, by as many workers.
///
/// # Errors
/// When the API server refuses one.
pub fn bare(cluster: &Cluster, prefix: &str, count: usize) -> Result<Duration> {
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let rival = Rival::new(&cluster.client());
    cluster.block(async {
        let begin = Instant::now();
        let next = AtomicUsize::new(0);
        try_join_all((0..WORKERS).map(|_| rival.work(&names, &next))).await?;
        Ok(begin.elapsed())
    })
}

/// Takes the rival's Services away, so that the next turn has as many as there are of ours,
/// and waits until nothing is left of them to be tidied up.
///
/// # Errors
/// When the API server refuses, or something stays.
pub fn clear(cluster: &Cluster) -> Result<()> {
    let all = ListParams::default().labels(&format!("side={RIVAL}"));
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client(), NAMESPACE);
    cluster.block(async { Ok(services.delete_collection(&DeleteParams::default(), &all).await?) })?;
    cluster.lab.wait_until("the rival's Services and EndpointSlices to be gone", GONE, || {
        let left = cluster.block(async {
            let (services, slices) = (services.list_metadata(&all).await?, slices.list_metadata(&all).await?);
            Ok(services.items.len() + slices.items.len())
        })?;
        Ok((left == 0).then_some(()))
    })
}

struct Rival {
    services: Api<Service>,
    events: Api<Event>,
    states: Api<DynamicObject>,
    kind: ApiResource,
}

impl Rival {
    fn new(client: &Client) -> Self {
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("metallb.io", "v1beta1", "ServiceL2Status"),
            "servicel2statuses",
        );
        Self {
            services: Api::namespaced(client.clone(), NAMESPACE),
            events: Api::namespaced(client.clone(), NAMESPACE),
            states: Api::namespaced_with(client.clone(), clarion_lab::NAMESPACE, &kind),
            kind,
        }
    }

    async fn work(&self, names: &[String], next: &AtomicUsize) -> Result<()> {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.serve(name).await?;
        }
        Ok(())
    }

    async fn serve(&self, name: &str) -> Result<()> {
        let (post, patch) = (PostParams::default(), PatchParams::default());
        let made = self.services.create(&post, &service(name, Some(FOREIGN_CLASS))?).await?;
        let status = json!({
            "metadata": {
                "resourceVersion": made.metadata.resource_version,
                "annotations": {"metallb.io/ip-allocated-from-pool": "crowd"},
            },
            "status": {"loadBalancer": {"ingress": [{"ip": FOREIGN_ADDRESS}]}},
        });
        self.services.patch_status(name, &patch, &Patch::Merge(status)).await?;
        self.tell(&made, "IPAllocated", "Assigned IP [\"192.0.2.1\"]").await?;
        let mut state = DynamicObject::new("", &self.kind);
        state.metadata.name = None;
        state.metadata.generate_name = Some("l2-".to_owned());
        let labels = [("metallb.io/node", "nowhere"), ("metallb.io/service-name", name)];
        state.metadata.labels = Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let state = self.states.create(&post, &state).await?;
        let filled = json!({"status": {
            "node": "nowhere", "serviceName": name, "serviceNamespace": NAMESPACE, "interfaces": [],
        }});
        let object = state.metadata.name.context("an object without a name")?;
        self.states.patch_status(&object, &patch, &Patch::Merge(filled)).await?;
        self.tell(&made, "nodeAssigned", "announcing from node \"nowhere\" with protocol \"layer2\"").await
    }

    async fn tell(&self, about: &Service, reason: &str, message: &str) -> Result<()> {
        let meta = &about.metadata;
        let now: Value = serde_json::to_value(meta.creation_timestamp.clone())?;
        let event = json!({
            "metadata": {"generateName": "bare-"},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "namespace": NAMESPACE,
                "name": meta.name, "uid": meta.uid,
            },
            "type": "Normal", "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "bare"}, "reportingComponent": "bare", "reportingInstance": "bare",
        });
        self.events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
        Ok(())
    }
}

/// Creates one Service and returns the time from before the request until a watch showed
/// its address. A `victim` is deleted right before.
///
/// # Errors
/// When the API server refuses, or no address comes.
pub fn one_more(cluster: &Cluster, name: &str, victim: Option<&str>) -> Result<Duration> {
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let wanted = WatchParams::default().fields(&format!("metadata.name={name}"));
    cluster.block(async {
        let mut events = Box::pin(services.watch(&wanted, "0").await?);
        if let Some(victim) = victim {
            services.delete(victim, &DeleteParams::default()).await?;
        }
        let begin = Instant::now();
        services.create(&PostParams::default(), &service(name, None)?).await?;
        while let Some(event) = tokio::time::timeout(STALL, events.try_next())
            .await
            .with_context(|| format!("Service {name} has no address"))??
        {
            let (WatchEvent::Added(service) | WatchEvent::Modified(service)) = event else { continue };
            if address(&service).is_some() {
                return Ok(begin.elapsed());
            }
        }
        bail!("the watch ended before Service {name} had an address")
    })
}
