//! What this node should announce: one pure function of what the agent knows.
//! Who *owns* a layer 2 address is not decided here (that depends on who is
//! alive, which is the fast half's business), only who may.

mod bgp;
mod l2;
pub mod owners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::{AnnounceReason, NodeName, ServiceKey};

use crate::bgp::DesiredPeers;
use crate::view::{Node, Service, TrafficPolicy, View};

pub use l2::{Interfaces, Vip};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The node this agent runs on.
    pub node: NodeName,
    /// `--ignore-exclude-lb`: labelled nodes announce all the same.
    pub ignore_exclude_label: bool,
}

/// What this node should announce, and why not what it should not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Layer 2 addresses of the whole cluster, with who may own each.
    pub l2: BTreeMap<IpAddr, Vip>,
    /// BGP sessions of this node and the routes on each.
    pub peers: DesiredPeers,
    /// BGPPeers of this node that cannot be spoken to, with what to do about it.
    pub peer_problems: BTreeMap<String, String>,
    /// Whether this node is cordoned (`spec.unschedulable`): what ends on it ends for good.
    pub cordoned: bool,
    /// This node's own addresses (InternalIP), at which other nodes reach it.
    pub node_addresses: Vec<IpAddr>,
    /// The verdict on each Service.
    pub services: BTreeMap<ServiceKey, Verdict>,
}

/// What becomes of one Service on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `metadata.uid`.
    pub uid: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// `NotOwner` stands for "may own": the fast half knows more.
    pub l2: AnnounceReason,
    /// `Announced` if routes go to at least one peer.
    pub bgp: AnnounceReason,
    /// BGPPeers of this node that get a route for it.
    pub peers: BTreeSet<String>,
}

/// Computes everything from scratch.
#[must_use]
pub fn desired(me: &Me, view: &View) -> Desired {
    let node = view.nodes.get(&me.node);
    let mut all = Desired {
        cordoned: node.is_some_and(|node| node.cordoned),
        node_addresses: node.map(|node| node.addresses.clone()).unwrap_or_default(),
        ..Desired::default()
    };
    let mut sessions = bgp::sessions(me, view);
    let mut vips = l2::Collector::default();
    for (key, service) in &view.services {
        let mut verdict = Verdict {
            uid: service.uid.clone(),
            addresses: service.addresses.clone(),
            l2: AnnounceReason::NoIpAllocated,
            bgp: AnnounceReason::NoIpAllocated,
            peers: BTreeSet::new(),
        };
        if !service.addresses.is_empty() {
            verdict.l2 = vips.add(me, view, key, service);
            verdict.bgp = sessions.add(me, view, key, service, &mut verdict.peers);
        }
        all.services.insert(key.clone(), verdict);
    }
    all.l2 = vips.finish();
    (all.peers, all.peer_problems) = sessions.finish();
    all
}

/// Whether a node takes traffic from outside at all (contract §2.8).
fn node_verdict(me: &Me, node: &Node) -> Result<(), AnnounceReason> {
    if node.network_unavailable {
        return Err(AnnounceReason::NodeNetworkUnavailable);
    }
    if node.excluded() && !me.ignore_exclude_label {
        return Err(AnnounceReason::NodeLabeledExcludeBalancers);
    }
    Ok(())
}

/// Whether a node may take the Service's traffic, as far as endpoints decide.
fn endpoint_verdict(
    view: &View,
    key: &ServiceKey,
    service: &Service,
    node: &NodeName,
) -> Result<(), AnnounceReason> {
    match (view.endpoints.get(key), service.policy) {
        (None, _) => Err(AnnounceReason::NoEndpoints),
        (Some(endpoints), _) if endpoints.is_empty() => Err(AnnounceReason::NoEndpoints),
        (Some(_), TrafficPolicy::Cluster) => Ok(()),
        (Some(endpoints), TrafficPolicy::Local) if endpoints.nodes.contains(node) => Ok(()),
        (Some(_), TrafficPolicy::Local) => Err(AnnounceReason::NoLocalEndpoints),
    }
}
