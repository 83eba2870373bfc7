//! Why nobody announces a Service: every rule by which agents decide, asked of what the API server
//! knows. Pure; the first cause is the one to do something about.

use std::collections::{BTreeMap, BTreeSet};

use clarion_config::{Pool, PoolSelection};
use clarion_core::{AnnounceReason, LabelSelector};
use serde::Serialize;

use crate::cluster::{Cluster, LoadBalancer, NodeFacts};

/// What keeps a Service from being announced, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Why {
    /// There is no advertisement at all.
    NoAdvertisement,
    /// No advertisement selects the pool or the Service.
    NotSelected,
    /// An advertisement names a pool that does not exist.
    UnknownPool,
    /// It may share its address, and an advertisement selects by Service.
    SharedWithServiceSelector,
    /// The BGPAdvertisement names a BGPPeer that does not exist.
    UnknownPeer,
    /// There is no BGPPeer for it.
    NoPeer,
    /// The advertisement's nodeSelectors leave the node out.
    NodeSelectors,
    /// The BGPPeer's nodeSelectors leave the node out.
    PeerElsewhere,
    /// No agent lives on the node.
    NodeWithoutAgent,
    /// The node has condition NetworkUnavailable.
    NetworkUnavailable,
    /// The node is excluded from load balancers.
    Excluded,
    /// externalTrafficPolicy is Local, and no endpoint serves on the node.
    NoLocalEndpoints,
    /// The advertisement names interfaces that the node does not have.
    NoInterface,
    /// Nobody plans who owns it, since no controller lives.
    NoController,
    /// Everything is as it should be, and nobody says that it announces.
    Unsaid,
}

/// One of the causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    /// `layer2` or `bgp`; `None` where it concerns both.
    pub(crate) protocol: Option<&'static str>,
    pub(crate) why: Why,
    /// What is so.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Cause {
    fn new(protocol: impl Into<Option<&'static str>>, why: Why, what: String, remedy: String) -> Self {
        Self { protocol: protocol.into(), why, what, remedy }
    }
}

/// An advertisement of either kind, as far as both are alike.
pub(crate) struct Advertisement<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) pools: &'a PoolSelection,
    pub(crate) services: &'a [LabelSelector],
    nodes: &'a [LabelSelector],
}

/// All of them, layer 2 first.
pub(crate) fn advertisements(cluster: &Cluster) -> impl Iterator<Item = Advertisement<'_>> {
    let l2 = cluster.config.l2.values().map(|a| Advertisement {
        kind: "L2Advertisement",
        name: &a.name,
        pools: &a.pools,
        services: &a.service_selectors,
        nodes: &a.node_selectors,
    });
    let bgp = cluster.config.bgp.values().map(|a| Advertisement {
        kind: "BGPAdvertisement",
        name: &a.name,
        pools: &a.pools,
        services: &a.service_selectors,
        nodes: &a.node_selectors,
    });
    l2.chain(bgp)
}

impl Advertisement<'_> {
    /// Which of its selectors leaves pool or Service out, if one does.
    pub(crate) fn mismatch(&self, pool: &Pool, service: &LoadBalancer) -> Option<&'static str> {
        if !self.pools.matches(pool) {
            return Some("ipAddressPools and ipAddressPoolSelectors leave this pool out");
        }
        (!LabelSelector::any_matches(self.services, &service.labels))
            .then_some("serviceSelectors leave this Service out")
    }
}

/// Why a Service with addresses of this pool and serving endpoints is not announced by each protocol
/// that is meant to. Empty if it is.
pub(crate) fn causes(cluster: &Cluster, service: &LoadBalancer, pool: &Pool) -> Vec<Cause> {
    let selecting: Vec<_> = advertisements(cluster).filter(|a| a.mismatch(pool, service).is_none()).collect();
    if selecting.is_empty() {
        return unselected(cluster, pool);
    }
    let (l2, bgp): (Vec<_>, Vec<_>) = selecting.into_iter().partition(|a| a.kind == "L2Advertisement");
    let mut causes = Vec::new();
    if !l2.is_empty() && cluster.layer2_owner(&service.key).is_none() {
        causes.extend(layer2(cluster, service, pool, &l2));
    }
    if !bgp.is_empty() && cluster.bgp_announcers(&service.key).next().is_none() {
        causes.extend(self::bgp(cluster, service, &bgp));
    }
    causes
}

/// No advertisement selects it.
fn unselected(cluster: &Cluster, pool: &Pool) -> Vec<Cause> {
    let name = &pool.name;
    let make = format!("create an L2Advertisement or a BGPAdvertisement with ipAddressPools [{name}]");
    if advertisements(cluster).next().is_none() {
        let what = "there is no L2Advertisement and no BGPAdvertisement".to_owned();
        return vec![Cause::new(None, Why::NoAdvertisement, what, make)];
    }
    let known = |pool: &&clarion_core::PoolName| {
        cluster.config.pools.contains_key(*pool) || cluster.config.set_aside.contains_key(*pool)
    };
    let mut causes: Vec<_> = advertisements(cluster)
        .filter_map(|a| {
            let wrong: Vec<_> = a.pools.names.iter().filter(|name| !known(name)).collect();
            let names = list(wrong.iter().copied());
            (!wrong.is_empty()).then(|| {
                let what = format!("{} {} names pools that do not exist: {names}", a.kind, a.name);
                let there = list(cluster.config.pools.keys());
                let remedy = format!("mend its spec.ipAddressPools; there are: {there}");
                Cause::new(None, Why::UnknownPool, what, remedy)
            })
        })
        .collect();
    let what = format!("no advertisement selects pool {name} and this Service");
    causes.push(Cause::new(None, Why::NotSelected, what, make));
    causes
}

fn layer2(
    cluster: &Cluster,
    service: &LoadBalancer,
    pool: &Pool,
    advertisements: &[Advertisement<'_>],
) -> Vec<Cause> {
    let protocol = "layer2";
    let selected = cluster.config.l2_advertisements(pool, &service.labels, service.shared);
    let selected = match selected {
        Err(AnnounceReason::SharedIpWithServiceSelector) => {
            let what = "it may share its address, and an L2Advertisement of its pool has serviceSelectors";
            let remedy = "remove the serviceSelectors, or annotation metallb.io/allow-shared-ip";
            return vec![Cause::new(
                protocol,
                Why::SharedWithServiceSelector,
                what.to_owned(),
                remedy.to_owned(),
            )];
        }
        other => other.unwrap_or_default(),
    };
    let nodes = match usable(cluster, service, protocol, advertisements) {
        Ok(nodes) => nodes,
        Err(causes) => return causes,
    };
    let interfaces: BTreeSet<_> = selected.iter().flat_map(|a| &a.interfaces).collect();
    let named = selected.iter().all(|a| !a.interfaces.is_empty());
    let has = |node: &NodeFacts| {
        let covering = selected.iter().filter(|a| a.covers(&node.labels));
        let mut names = covering.flat_map(|a| &a.interfaces);
        // Which ones there are is what its agent has said.
        node.interfaces.is_empty() || names.any(|name| node.interfaces.contains(name))
    };
    if named && !nodes.iter().any(has) {
        let there = nodes.iter().map(|n| format!("{} has {}", n.name, list(&n.interfaces)));
        let what = format!(
            "spec.interfaces [{}] of {}: no node that may announce it has one ({})",
            list(interfaces),
            list(selected.iter().map(|a| format!("L2Advertisement {}", a.name))),
            there.collect::<Vec<_>>().join("; ")
        );
        let remedy = "name interfaces that there are, or none for all".to_owned();
        return vec![Cause::new(protocol, Why::NoInterface, what, remedy)];
    }
    vec![nobody(cluster, protocol, &nodes)]
}

fn bgp(cluster: &Cluster, service: &LoadBalancer, advertisements: &[Advertisement<'_>]) -> Vec<Cause> {
    let protocol = "bgp";
    let config = &cluster.config;
    let chosen: Vec<_> = advertisements.iter().filter_map(|a| config.bgp.get(a.name)).collect();
    if config.peers.is_empty() {
        let what = "there is no BGPPeer".to_owned();
        return vec![Cause::new(protocol, Why::NoPeer, what, "create a BGPPeer".to_owned())];
    }
    let meant = |peer: &&clarion_config::Peer| {
        chosen.iter().any(|a| a.peers.is_empty() || a.peers.contains(&peer.name))
    };
    let peers: Vec<_> = config.peers.values().filter(meant).collect();
    if peers.is_empty() {
        let wrong: BTreeSet<_> = chosen.iter().flat_map(|a| &a.peers).collect();
        let names = list(chosen.iter().map(|a| &a.name));
        let what = format!("BGPAdvertisement {names} names BGPPeers that do not exist: {}", list(wrong));
        let remedy = format!("mend its spec.peers; there are: {}", list(config.peers.keys()));
        return vec![Cause::new(protocol, Why::UnknownPeer, what, remedy)];
    }
    let nodes = match usable(cluster, service, protocol, advertisements) {
        Ok(nodes) => nodes,
        Err(causes) => return causes,
    };
    let speaks = |node: &NodeFacts| {
        peers.iter().any(|peer| LabelSelector::any_matches(&peer.node_selectors, &node.labels))
    };
    if !nodes.iter().any(speaks) {
        let what = format!(
            "nodeSelectors of BGPPeer {} leave out every node that may announce it ({})",
            list(peers.iter().map(|peer| &peer.name)),
            list(nodes.iter().map(|node| &node.name))
        );
        let remedy = "widen the BGPPeer's spec.nodeSelectors, or label a node".to_owned();
        return vec![Cause::new(protocol, Why::PeerElsewhere, what, remedy)];
    }
    vec![nobody(cluster, protocol, &nodes)]
}

/// The nodes that may announce, or why none may: what the fewest steps are missing to comes first.
fn usable(
    cluster: &Cluster,
    service: &LoadBalancer,
    protocol: &'static str,
    advertisements: &[Advertisement<'_>],
) -> Result<Vec<NodeFacts>, Vec<Cause>> {
    let serving = cluster.serving_endpoints(&service.key);
    let mut refused: BTreeMap<Why, Vec<String>> = BTreeMap::new();
    let mut nodes = Vec::new();
    for node in cluster.node_facts() {
        let covered = advertisements.iter().any(|a| LabelSelector::any_matches(a.nodes, &node.labels));
        let why = if !covered {
            Why::NodeSelectors
        } else if !node.agent.lives() {
            Why::NodeWithoutAgent
        } else if node.network_unavailable {
            Why::NetworkUnavailable
        } else if node.excluded {
            Why::Excluded
        } else if service.traffic_policy == "Local" && !serving.contains_key(&node.name) {
            Why::NoLocalEndpoints
        } else {
            nodes.push(node);
            continue;
        };
        refused.entry(why).or_default().push(node.name);
    }
    if !nodes.is_empty() {
        return Ok(nodes);
    }
    let names = list(advertisements.iter().map(|a| format!("{} {}", a.kind, a.name)));
    let each = refused.into_iter().rev();
    Err(each.map(|(why, nodes)| node_cause(cluster, service, protocol, &names, why, &nodes)).collect())
}

fn node_cause(
    cluster: &Cluster,
    service: &LoadBalancer,
    protocol: &'static str,
    advertisements: &str,
    why: Why,
    nodes: &[String],
) -> Cause {
    let all = list(nodes);
    let first = nodes.first().map_or("NODE", String::as_str);
    let key = &service.key;
    let (what, remedy) = match why {
        Why::NodeSelectors => (
            format!("nodeSelectors of {advertisements} leave out {all}"),
            "widen its spec.nodeSelectors, or label a node".to_owned(),
        ),
        Why::NodeWithoutAgent => (format!("no living agent on {all}"), cluster.pods_command("agent")),
        Why::NetworkUnavailable => (
            format!("{all}: condition NetworkUnavailable"),
            format!("see to the node's network: `kubectl describe node {first}`"),
        ),
        Why::Excluded => (
            format!("{all}: label {} excludes it from load balancers", clarion_config::EXCLUDE_LABEL),
            format!(
                "`kubectl label node {first} {}-`, or run controller and agents with --ignore-exclude-lb",
                clarion_config::EXCLUDE_LABEL
            ),
        ),
        _ => (
            format!("externalTrafficPolicy is Local, and no endpoint serves on {all}"),
            format!(
                "run a pod of it there (`kubectl get endpointslices -n {} -l kubernetes.io/service-name={} -o wide`), or set externalTrafficPolicy: Cluster",
                key.namespace(),
                key.name()
            ),
        ),
    };
    Cause::new(protocol, why, what, remedy)
}

/// All that can be seen from here is in order.
fn nobody(cluster: &Cluster, protocol: &'static str, nodes: &[NodeFacts]) -> Cause {
    if protocol == "layer2" && cluster.controller().is_dead() {
        let what = "no controller lives, which plans who owns it".to_owned();
        return Cause::new(protocol, Why::NoController, what, cluster.pods_command("controller"));
    }
    let what = format!("{} may announce it, and none says that it does", list(nodes.iter().map(|n| &n.name)));
    Cause::new(protocol, Why::Unsaid, what, cluster.logs_command("agent"))
}

/// Names, with commas; bounded, since there may be thousands of nodes.
fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    const NAMED: usize = 8;
    let all: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    match all.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", all[..NAMED].join(", ")),
        _ if all.is_empty() => "none".to_owned(),
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests;
