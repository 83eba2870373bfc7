//! A controller that places, and reaches nodes through an API that is slow, overtakes
//! itself, and may be away. It does not know what the nodes do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_fence::NodeId;
use clarion_l2::machine::{Placement, Plan};

use super::MS;
use super::world::{Config, Event, World};

pub(crate) struct Controller {
    pub(crate) plan: Plan,
    /// Addresses that are still to be created.
    unborn: BTreeMap<usize, Arc<Placement>>,
}

pub(crate) fn node_id(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

pub(crate) fn index_of(node: NodeId) -> usize {
    (node.0 - 1) as usize
}

pub(crate) fn address(index: usize) -> IpAddr {
    let [_, b, c, d] = (index as u32).to_be_bytes();
    IpAddr::from([10, b, c, d])
}

pub(crate) fn address_index(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(v4) => (u32::from(v4) & 0xff_ffff) as usize,
        IpAddr::V6(_) => unreachable!("the simulator's addresses are IPv4"),
    }
}

/// All others in small clusters, else four neighbours on a ring.
pub(crate) fn voters(members: &BTreeSet<NodeId>, node: NodeId) -> Vec<NodeId> {
    let ring: Vec<_> = members.iter().copied().collect();
    let Some(at) = ring.iter().position(|n| *n == node) else { return Vec::new() };
    let others = ring.len() - 1;
    let steps: Vec<usize> = if others <= 4 { (1..=others).collect() } else { vec![1, others, 2, others - 1] };
    steps.into_iter().map(|step| ring[(at + step) % ring.len()]).collect()
}

impl Controller {
    pub(crate) fn new(config: &Config) -> Self {
        let nodes: BTreeSet<_> = (0..config.nodes).map(node_id).collect();
        let mut plan = Plan { version: 1, stay: config.stay, ..Plan::default() };
        let mut unborn = BTreeMap::new();
        for index in 0..config.addresses {
            let length = config.nodes.min(config.list);
            let order = (0..length).map(|i| node_id((index + i * (1 + index / config.nodes)) % config.nodes));
            let mut list: Vec<NodeId> = Vec::new();
            for node in order.chain((0..length).map(|i| node_id((index + i) % config.nodes))) {
                if !list.contains(&node) && list.len() < length {
                    list.push(node);
                }
            }
            let place = Arc::new(Placement { epoch: 1, moves: false, nodes: list });
            if index + config.later < config.addresses {
                plan.places.insert(address(index), place);
            } else {
                unborn.insert(index, place);
            }
        }
        plan.voters = nodes.iter().map(|node| (*node, voters(&nodes, *node))).collect();
        plan.nodes = nodes;
        Self { plan, unborn }
    }
}

impl World {
    fn greatest_epoch(&self, index: usize) -> u64 {
        let held =
            self.nodes.iter().filter_map(|n| n.maps.entries.get(&address(index))).map(|entry| entry.epoch);
        let known =
            self.nodes.iter().filter(|n| n.api).filter_map(|n| n.agent.as_ref()?.owner(address(index)));
        held.chain(known.map(|record| record.epoch)).max().unwrap_or(0)
    }

    /// Puts a node in front of an address's list, with an epoch above all others.
    pub(crate) fn place(&mut self, index: usize, target: usize, above: u64, moves: bool) {
        let epoch = self.greatest_epoch(index);
        let Some(place) = self.controller.plan.places.get_mut(&address(index)).map(Arc::make_mut) else {
            return;
        };
        (place.epoch, place.moves) = (epoch.max(place.epoch) + above, moves);
        place.nodes.retain(|node| *node != node_id(target));
        place.nodes.insert(0, node_id(target));
        let text = format!("controller: address {index} to node {target}, epoch {}", place.epoch);
        self.line(text);
    }

    /// Plans an address for the first time.
    pub(crate) fn create(&mut self, index: usize, target: usize) {
        let Some(place) = self.controller.unborn.remove(&index) else { return };
        self.controller.plan.places.insert(address(index), place);
        self.place(index, target, 1, false);
    }

    /// The order behind the owner changes: nothing may move.
    pub(crate) fn reorder(&mut self, index: usize) {
        let Some(place) = self.controller.plan.places.get_mut(&address(index)).map(Arc::make_mut) else {
            return;
        };
        if place.nodes.len() > 2 {
            place.nodes[1..].rotate_left(1);
        }
    }

    /// Voters of the nodes that live, as far as the controller can tell.
    pub(crate) fn replan_voters(&mut self) {
        let live: BTreeSet<_> = (0..self.nodes.len()).filter(|i| self.nodes[*i].power).map(node_id).collect();
        let all = &self.controller.plan.nodes;
        let voters = all.iter().map(|node| {
            let mut members = live.clone();
            members.insert(*node);
            (*node, voters(&members, *node))
        });
        self.controller.plan.voters = voters.collect();
    }

    /// Sends the plan to every node that the API reaches.
    pub(crate) fn publish(&mut self) {
        self.controller.plan.version += 1;
        let plan = Arc::new(self.controller.plan.clone());
        self.published = Arc::clone(&plan);
        for node in 0..self.nodes.len() {
            if self.nodes[node].api {
                self.deliver_plan(node);
            }
        }
    }

    /// One node's watch catches up, sooner or later.
    pub(crate) fn deliver_plan(&mut self, node: usize) {
        let slow = self.config.slow_watch && self.rng.chance(0.1);
        let delay = if slow { self.rng.range(0, 1500 * MS) } else { 2 * MS + self.rng.exp(4e6) as u64 };
        let mut plan = Arc::clone(&self.published);
        if self.config.barred.contains(&node) {
            let plan = Arc::make_mut(&mut plan);
            plan.barred = plan.places.keys().copied().collect();
        }
        self.schedule(self.now + delay, Event::Plan(node, plan));
    }
}
