//! One consistent look at what the API server knows, in domain words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use clarion_api::{AGENT_LEASE_PREFIX, AGENT_LEASES, LABEL_SLICE_SERVICE};
use clarion_config::legacy::{self, Legacy, Source};
use clarion_config::{Config, EXCLUDE_LABEL, Objects, Outcome, Pool, Problem, serves};
use clarion_controller::service::ServiceView;
use clarion_core::{Labels, ServiceKey};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// What was read. Nothing here is written back.
pub(crate) struct Cluster {
    /// What is in force, by the parser that controller and agents use.
    pub(crate) config: Config,
    /// What was set aside.
    pub(crate) problems: Vec<Problem>,
    /// What is worth knowing and no problem.
    pub(crate) notices: Vec<String>,
    services: Vec<Service>,
    nodes: Vec<Node>,
    namespaces: BTreeMap<String, Labels>,
    slices: Vec<EndpointSlice>,
    leases: BTreeMap<String, Lease>,
    l2_status: Vec<clarion_api::ServiceL2Status>,
    bgp_status: Vec<clarion_api::ServiceBGPStatus>,
    states: Vec<clarion_api::ConfigurationState>,
    lb_class: Option<String>,
    events: Vec<Event>,
    now: jiff::Timestamp,
}

/// A Service of type LoadBalancer.
pub(crate) struct LoadBalancer {
    pub(crate) key: ServiceKey,
    pub(crate) labels: Labels,
    /// As in `status.loadBalancer.ingress`.
    pub(crate) addresses: Vec<IpAddr>,
    /// `spec.loadBalancerClass`.
    pub(crate) class: Option<String>,
    /// `externalTrafficPolicy`, `Cluster` when absent.
    pub(crate) traffic_policy: String,
}

impl Cluster {
    /// Reads everything the commands report on.
    pub(crate) async fn read(
        client: &Client,
        namespace: &str,
        lb_class: Option<String>,
    ) -> anyhow::Result<Self> {
        let (pools, l2, bgp, peers, bfd, communities) = futures::try_join!(
            list::<clarion_api::IPAddressPool>(client, namespace),
            list::<clarion_api::L2Advertisement>(client, namespace),
            list::<clarion_api::BGPAdvertisement>(client, namespace),
            list::<clarion_api::BGPPeer>(client, namespace),
            list::<clarion_api::BFDProfile>(client, namespace),
            list::<clarion_api::Community>(client, namespace),
        )?;
        let objects = Objects {
            namespace: namespace.to_owned(),
            pools: arcs(pools),
            l2: arcs(l2),
            bgp: arcs(bgp),
            peers: arcs(peers),
            bfd: arcs(bfd),
            communities: arcs(communities),
            legacy: configmap(client, namespace).await?.map(|configmap| {
                Arc::new(Legacy::read(&Source::new(&configmap.metadata, configmap.data.as_ref()), None))
            }),
        };
        let outcome = clarion_config::follow(&objects, &Config::default());
        let (services, nodes, namespaces, slices, leases, l2_status, bgp_status, states, events) = futures::try_join!(
            all(Api::<Service>::all(client.clone()), ListParams::default()),
            all(Api::<Node>::all(client.clone()), ListParams::default()),
            all(Api::<Namespace>::all(client.clone()), ListParams::default()),
            all(Api::<EndpointSlice>::all(client.clone()), ListParams::default()),
            all(
                Api::<Lease>::namespaced(client.clone(), namespace),
                ListParams::default().labels(AGENT_LEASES)
            ),
            list(client, namespace),
            list(client, namespace),
            list(client, namespace),
            all(
                Api::<Event>::all(client.clone()),
                ListParams::default().fields("involvedObject.kind=Service")
            ),
        )?;
        Ok(Self {
            config: outcome.config,
            problems: outcome.problems,
            notices: objects.configmap_notice().into_iter().collect(),
            services,
            nodes,
            namespaces: namespaces.into_iter().map(|n| (n.name_any(), n.labels().clone())).collect(),
            slices,
            leases: leases
                .into_iter()
                .filter_map(|l| Some((l.name_any().strip_prefix(AGENT_LEASE_PREFIX)?.to_owned(), l)))
                .collect(),
            l2_status,
            bgp_status,
            states,
            lb_class,
            events,
            now: jiff::Timestamp::now(),
        })
    }

    /// Services of type LoadBalancer and of our class, in the order of their names.
    pub(crate) fn services(&self) -> impl Iterator<Item = LoadBalancer> {
        let balancers = self.services.iter().filter_map(load_balancer);
        let mut all: Vec<_> = balancers.filter(|s| self.is_ours(s)).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.into_iter()
    }

    /// Whether the Service is of the class that this installation serves (contract §2.2).
    pub(crate) fn is_ours(&self, service: &LoadBalancer) -> bool {
        service.class == self.lb_class
    }

    /// What controller and agents say of the configuration that they could not take
    /// over, each thing once with those who say it, but for what [`Self::problems`]
    /// says already.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        let mut said = BTreeMap::<&str, Vec<String>>::new();
        for state in &self.states {
            let summary = state.status.as_ref().and_then(|s| s.error_summary.as_deref()).unwrap_or_default();
            for line in summary.lines().filter(|line| !line.is_empty()) {
                let line = line.strip_prefix("configuration error: ").unwrap_or(line);
                said.entry(line).or_default().push(state.name_any());
            }
        }
        let known: BTreeSet<_> = self.problems.iter().map(ToString::to_string).collect();
        said.into_iter()
            .filter(move |(line, _)| !known.contains(*line))
            .map(|(line, who)| format!("{line} ({})", who.join(", ")))
    }

    /// Whether something is wrong with an object.
    pub(crate) fn has_problem(&self, kind: &str, name: &str) -> bool {
        self.problems.iter().any(|problem| problem.object.kind == kind && problem.object.name == name)
    }

    /// The Service object, of whatever type.
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services
            .iter()
            .find(|s| s.namespace().as_deref() == Some(key.namespace()) && s.name_any() == key.name())
    }

    /// The labels of a namespace; none if there is no such.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Labels {
        self.namespaces.get(namespace).cloned().unwrap_or_default()
    }

    /// All Services as the controller sees them.
    pub(crate) fn views(&self) -> Vec<ServiceView> {
        self.services.iter().filter_map(|service| self.view(service)).collect()
    }

    /// A Service as the controller sees it; `None` if it has nothing to do with it.
    pub(crate) fn view(&self, service: &Service) -> Option<ServiceView> {
        ServiceView::read(service, self.lb_class.as_deref())
    }

    /// What the parser said, for whoever decides by it.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { config: self.config.clone(), problems: self.problems.clone(), ..Outcome::default() }
    }

    /// The nodes that may announce, with their labels: available and not excluded from load
    /// balancers (contract §2.8).
    pub(crate) fn announcing_nodes(&self) -> impl Iterator<Item = (String, Labels)> {
        let available = |node: &&Node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
            let mut conditions = conditions.unwrap_or_default().iter();
            !conditions.any(|c| c.type_ == "NetworkUnavailable" && c.status == "True")
                && !node.labels().contains_key(EXCLUDE_LABEL)
        };
        let mut all: Vec<_> =
            self.nodes.iter().filter(available).map(|n| (n.name_any(), n.labels().clone())).collect();
        all.sort();
        all.into_iter()
    }

    /// Node names, sorted.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = String> {
        let mut names: Vec<_> = self.nodes.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names.into_iter()
    }

    /// The pool that holds the address.
    pub(crate) fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.config.pool_of(address)
    }

    /// The node that answers for the Service on layer 2, as it says itself.
    pub(crate) fn layer2_owner(&self, key: &ServiceKey) -> Option<String> {
        self.l2_status.iter().filter_map(|s| s.status.as_ref()).find_map(|s| {
            (s.service_namespace.as_deref() == Some(key.namespace())
                && s.service_name.as_deref() == Some(key.name()))
            .then(|| s.node.clone())
            .flatten()
        })
    }

    /// Nodes that announce the Service by BGP and the peers each announces it to.
    pub(crate) fn bgp_announcers(&self, key: &ServiceKey) -> impl Iterator<Item = (String, Vec<String>)> {
        let mut all: Vec<_> = self
            .bgp_status
            .iter()
            .filter_map(|s| s.status.as_ref())
            .filter(|s| {
                s.service_namespace.as_deref() == Some(key.namespace())
                    && s.service_name.as_deref() == Some(key.name())
            })
            .filter_map(|s| Some((s.node.clone()?, s.peers.clone())))
            .collect();
        all.sort();
        all.into_iter()
    }

    /// Seconds since the agent of a node renewed its Lease, by this machine's clock.
    pub(crate) fn lease_age_s(&self, node: &str) -> Option<i64> {
        let renewed = self.leases.get(node)?.spec.as_ref()?.renew_time.as_ref()?.0;
        Some((self.now.as_second() - renewed.as_second()).max(0))
    }

    /// Nodes with serving endpoints of the Service and how many each has (contract §2.8).
    pub(crate) fn serving_endpoints(&self, key: &ServiceKey) -> BTreeMap<String, usize> {
        let mut nodes = BTreeMap::new();
        for slice in self.slices.iter().filter(|s| {
            s.namespace().as_deref() == Some(key.namespace())
                && s.labels().get(LABEL_SLICE_SERVICE).is_some_and(|name| name == key.name())
        }) {
            for endpoint in &slice.endpoints {
                let conditions = endpoint.conditions.as_ref();
                let (ready, serving) = (conditions.and_then(|c| c.ready), conditions.and_then(|c| c.serving));
                if serves(ready, serving, &endpoint.addresses) {
                    *nodes.entry(endpoint.node_name.clone().unwrap_or_default()).or_default() += 1;
                }
            }
        }
        nodes
    }

    /// The newest Warning about the Service: reason and message.
    pub(crate) fn last_warning(&self, key: &ServiceKey) -> Option<(String, String)> {
        self.events
            .iter()
            .filter(|e| {
                e.type_.as_deref() == Some("Warning")
                    && e.involved_object.namespace.as_deref() == Some(key.namespace())
                    && e.involved_object.name.as_deref() == Some(key.name())
            })
            .max_by_key(|e| e.metadata.creation_timestamp.as_ref().map(|t| t.0))
            .map(|e| (e.reason.clone().unwrap_or_default(), e.message.clone().unwrap_or_default()))
    }
}

/// Reads a Service as the load balancer it wants to be; `None` for other types.
pub(crate) fn load_balancer(service: &Service) -> Option<LoadBalancer> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return None;
    }
    let ingress = service.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    Some(LoadBalancer {
        key: ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any()),
        labels: service.labels().clone(),
        addresses: ingress.filter_map(|i| i.ip.as_deref()?.parse().ok()).collect(),
        class: spec.load_balancer_class.clone(),
        traffic_policy: spec.external_traffic_policy.clone().unwrap_or_else(|| "Cluster".to_owned()),
    })
}

/// The ConfigMap of the first releases. Who may not read it sees none.
async fn configmap(client: &Client, namespace: &str) -> anyhow::Result<Option<ConfigMap>> {
    match Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(legacy::NAME).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        read => read.with_context(|| format!("cannot read ConfigMap {namespace}/{}", legacy::NAME)),
    }
}

/// Objects of one of our kinds, one by one: one that cannot be read says so, as it does to
/// controller and agents, and is not the end of the others.
async fn list<K>(client: &Client, namespace: &str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Default,
{
    let resource = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let objects = items(api, ListParams::default(), &resource.kind).await?;
    let read = |mut object: DynamicObject| {
        if let Some(fields) = object.data.as_object_mut() {
            fields.insert("metadata".to_owned(), serde_json::json!({}));
        }
        clarion_config::decode(object.metadata, object.data)
    };
    Ok(objects.into_iter().map(read).collect())
}

async fn all<K>(api: Api<K>, params: ListParams) -> anyhow::Result<Vec<K>>
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

fn arcs<T>(items: Vec<T>) -> Vec<Arc<T>> {
    items.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
pub(crate) mod tests;
