//! What the controller plans: who may own what, and who votes about whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::NodeName;
use clarion_fence::{Key, NodeId, VOTERS, tag_bytes};

/// Most nodes whose voter one node is, whatever a plan says: each costs two
/// messages an interval.
const WATCHED: usize = 64;

/// Who may own an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// The first node of the list takes the address if its record has a lower
    /// epoch and nobody answers for it; an owner of a lower epoch raises its own.
    /// The controller sets it above all it knows when it places an address, moves
    /// it, or finds it orphaned.
    pub epoch: u64,
    /// An owner of a lower epoch hands the address over to the first instead.
    pub moves: bool,
    /// Nodes that may own it, best first.
    pub nodes: Vec<NodeId>,
}

/// A whole plan. Of two plans the one with the greater version counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Grows with every plan.
    pub version: u64,
    /// All nodes with an agent: who is told of claims.
    pub nodes: BTreeSet<NodeId>,
    /// The voters of each node, by rank; of more than four the first four count.
    pub voters: BTreeMap<NodeId, Vec<NodeId>>,
    /// An owner that is on the list stays, wherever the list begins: nothing goes home.
    pub stay: bool,
    /// Addresses that this node may not own, unless a list names it: of all others it is fit
    /// for it may be the last one left. The only part that differs from node to node.
    pub barred: BTreeSet<IpAddr>,
    /// The addresses.
    pub places: BTreeMap<IpAddr, Arc<Placement>>,
}

impl Plan {
    /// The voters of a node, by rank.
    #[must_use]
    pub fn voters_of(&self, node: NodeId) -> &[NodeId] {
        let all = self.voters.get(&node).map_or(&[][..], Vec::as_slice);
        all.get(..VOTERS).unwrap_or(all)
    }

    /// The nodes that `voter` votes about.
    #[must_use]
    pub fn watched_by(&self, voter: NodeId) -> Vec<NodeId> {
        let all = self.voters.keys().copied();
        all.filter(|node| *node != voter && self.voters_of(*node).contains(&voter)).take(WATCHED).collect()
    }

    /// The nodes that may own an address, best first.
    #[must_use]
    pub fn list(&self, address: IpAddr) -> &[NodeId] {
        self.places.get(&address).map_or(&[], |place| &place.nodes)
    }
}

/// The number by which messages and maps name a node: a hash of its name, under
/// a key that is no secret. Two of a thousand nodes collide once in 10¹³ clusters.
#[must_use]
pub fn node_id(name: &NodeName) -> NodeId {
    let key = Key { id: 1, k0: 0x636c_6172_696f_6e00, k1: 0x6e6f_6465 };
    NodeId(tag_bytes(&key, name.as_str().as_bytes()).max(1))
}
