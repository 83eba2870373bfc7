//! One consistent look at what the API server knows, in domain words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_api::annotations::ServiceAnnotation;
use clarion_api::{
    AGENT_LEASE_PREFIX, AGENT_LEASES, CONDITION_ADDRESSES_USABLE, Configured, LABEL_SLICE_SERVICE,
};
use clarion_config::legacy::{self, Legacy, Source};
use clarion_config::{Config, EXCLUDE_LABEL, Objects, Outcome, Pool, Problem, serves};
use clarion_controller::service::ServiceView;
use clarion_core::{Labels, ServiceKey};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use read::{all, configmap, list};

/// What was read. Nothing here is written back.
pub(crate) struct Cluster {
    /// What is in force, by the parser that controller and agents use.
    pub(crate) config: Config,
    /// What was set aside.
    pub(crate) problems: Vec<Problem>,
    /// What is worth knowing and no problem.
    pub(crate) notices: Vec<String>,
    /// Where the configuration is.
    pub(crate) namespace: String,
    /// What it is read from, if not from objects.
    pub(crate) source: Option<String>,
    /// What is odd about the addresses of pools, as their conditions say.
    remarks: BTreeMap<String, String>,
    /// Its Lease; `Err` if it may not be read.
    controller: Result<Option<Lease>, ()>,
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
    /// Whether it may share its address.
    pub(crate) shared: bool,
}

/// A Lease older than this is worth a look (agents renew it every 5 s, the controller every second).
const LEASE_FRESH_S: i64 = 15;

/// Whether somebody lives, by its Lease and this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Renewed so many seconds ago.
    Lives(i64),
    /// Renewed so many seconds ago, which is long.
    Silent(i64),
    /// There is no Lease, or nobody holds it.
    Absent,
    /// The Lease may not be read.
    Unknown,
}

impl Life {
    fn of(lease: Option<&Lease>, now: jiff::Timestamp) -> Self {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        let held = spec.filter(|spec| spec.holder_identity.as_deref().is_some_and(|who| !who.is_empty()));
        let Some(renewed) = held.and_then(|spec| spec.renew_time.as_ref()) else { return Self::Absent };
        match (now.as_second() - renewed.0.as_second()).max(0) {
            age if age <= LEASE_FRESH_S => Self::Lives(age),
            age => Self::Silent(age),
        }
    }

    pub(crate) fn lives(self) -> bool {
        matches!(self, Self::Lives(_))
    }

    pub(crate) fn is_dead(self) -> bool {
        matches!(self, Self::Silent(_) | Self::Absent)
    }
}

/// What decides whether a node may announce.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) network_unavailable: bool,
    pub(crate) excluded: bool,
    pub(crate) agent: Life,
    /// Those that its agent announces on; empty while that is not known.
    pub(crate) interfaces: BTreeSet<String>,
}

/// The newest Warning about a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Seconds since it was said last; `None` if the event does not tell.
    pub(crate) age_s: Option<i64>,
}

impl Cluster {
    /// Reads everything the commands report on.
    pub(crate) async fn read(
        client: &Client,
        namespace: &str,
        lb_class: Option<String>,
    ) -> anyhow::Result<Self> {
        let namespaces = read::namespaces(client, namespace).await?;
        let (pools, l2, bgp, peers, bfd, communities) = futures::try_join!(
            list::<clarion_api::IPAddressPool>(client, namespace),
            list::<clarion_api::L2Advertisement>(client, namespace),
            list::<clarion_api::BGPAdvertisement>(client, namespace),
            list::<clarion_api::BGPPeer>(client, namespace),
            list::<clarion_api::BFDProfile>(client, namespace),
            list::<clarion_api::Community>(client, namespace),
        )?;
        let remarks = pools.iter().filter_map(|pool: &clarion_api::IPAddressPool| {
            let odd = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                c.type_ == CONDITION_ADDRESSES_USABLE && c.status == "False"
            };
            Some((pool.name_any(), pool.conditions().iter().find(odd)?.message.clone()))
        });
        let remarks = remarks.collect();
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
        let (services, nodes, slices, leases, controller, l2_status, bgp_status, states, events) = futures::try_join!(
            all(Api::<Service>::all(client.clone()), ListParams::default()),
            all(Api::<Node>::all(client.clone()), ListParams::default()),
            all(Api::<EndpointSlice>::all(client.clone()), ListParams::default()),
            all(
                Api::<Lease>::namespaced(client.clone(), namespace),
                ListParams::default().labels(AGENT_LEASES)
            ),
            read::controller(client, namespace),
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
            namespace: namespace.to_owned(),
            source: objects
                .legacy
                .as_ref()
                .filter(|_| objects.configmap_notice().is_none())
                .map(|_| format!("ConfigMap {namespace}/{}", legacy::NAME)),
            remarks,
            controller,
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
        let available = |node: &NodeFacts| !node.network_unavailable && !node.excluded;
        self.node_facts().filter(available).map(|node| (node.name, node.labels))
    }

    /// What decides whether each node may announce, in the order of their names.
    pub(crate) fn node_facts(&self) -> impl Iterator<Item = NodeFacts> {
        let facts = |node: &Node| {
            let name = node.name_any();
            let lease = self.leases.get(&name);
            let macs = lease.and_then(|lease| lease.annotations().get("clarion.dev/macs"));
            let macs = macs.and_then(|macs| serde_json::from_str::<BTreeMap<String, String>>(macs).ok());
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
            let mut conditions = conditions.unwrap_or_default().iter();
            NodeFacts {
                labels: node.labels().clone(),
                network_unavailable: conditions
                    .any(|c| c.type_ == "NetworkUnavailable" && c.status == "True"),
                excluded: node.labels().contains_key(EXCLUDE_LABEL),
                agent: Life::of(lease, self.now),
                interfaces: macs.unwrap_or_default().into_keys().collect(),
                name,
            }
        };
        let mut all: Vec<_> = self.nodes.iter().map(facts).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// Whether a controller leads.
    pub(crate) fn controller(&self) -> Life {
        self.controller.as_ref().map_or(Life::Unknown, |lease| Life::of(lease.as_ref(), self.now))
    }

    /// Whether the agent of a node lives.
    pub(crate) fn agent(&self, node: &str) -> Life {
        Life::of(self.leases.get(node), self.now)
    }

    /// What is odd about the addresses of a pool, as the controller says.
    pub(crate) fn remark(&self, pool: &str) -> Option<&str> {
        self.remarks.get(pool).map(String::as_str)
    }

    /// The command that shows the pods of a component.
    pub(crate) fn pods_command(&self, component: &str) -> String {
        format!(
            "`kubectl get pods -n {} -l app.kubernetes.io/component={component} -o wide` shows why",
            self.namespace
        )
    }

    /// The command that shows what a component has logged.
    pub(crate) fn logs_command(&self, component: &str) -> String {
        format!(
            "`kubectl logs -n {} -l app.kubernetes.io/component={component} --prefix --tail=50` may say why",
            self.namespace
        )
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

    /// The newest Warning about the Service.
    pub(crate) fn last_warning(&self, key: &ServiceKey) -> Option<Warning> {
        self.events
            .iter()
            .filter(|e| {
                e.type_.as_deref() == Some("Warning")
                    && e.involved_object.namespace.as_deref() == Some(key.namespace())
                    && e.involved_object.name.as_deref() == Some(key.name())
            })
            .max_by_key(|e| (said_at(e), version(e)))
            .map(|e| Warning {
                reason: e.reason.clone().unwrap_or_default(),
                message: e.message.clone().unwrap_or_default(),
                age_s: said_at(e).map(|at| (self.now.as_second() - at.as_second()).max(0)),
            })
    }
}

/// When an event was said last.
fn said_at(event: &Event) -> Option<jiff::Timestamp> {
    let series = event.series.as_ref().and_then(|series| Some(series.last_observed_time.as_ref()?.0));
    let last = event.last_timestamp.as_ref().map(|at| at.0);
    let once = event.event_time.as_ref().map(|at| at.0);
    let made = event.metadata.creation_timestamp.as_ref().map(|at| at.0);
    series.max(last).max(once).or(made)
}

/// Times of events are in seconds. Of two within one the API server wrote the one with the higher
/// version later.
fn version(event: &Event) -> u64 {
    event.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
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
        shared: ServiceAnnotation::AllowSharedIp
            .read(service.annotations())
            .is_some_and(|found| !found.value.is_empty()),
        traffic_policy: spec.external_traffic_policy.clone().unwrap_or_else(|| "Cluster".to_owned()),
    })
}

fn arcs<T>(items: Vec<T>) -> Vec<Arc<T>> {
    items.into_iter().map(Arc::new).collect()
}

mod read;
#[cfg(test)]
pub(crate) mod tests;
