//! A machine: its clock, its kernel's maps, its agent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use clarion_fence::{Asked, Leases, NodeId, Own, Peer};
use clarion_l2::machine::{Entry, Input, Kernel, Machine, Plan};

use super::net::Packet;

/// Frames that wait in the receive ring of a machine that stands still.
pub(crate) const RING: usize = 64;
/// Datagrams that wait in the socket of an agent that stands still.
pub(crate) const SOCKET: usize = 512;

#[derive(Default)]
pub(crate) struct Maps {
    pub(crate) own: Option<Own>,
    pub(crate) leases: Leases0,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) granted: BTreeMap<NodeId, u64>,
    pub(crate) entries: BTreeMap<IpAddr, Entry>,
    /// Addresses whose entry changed since the checker last looked.
    pub(crate) touched: Vec<IpAddr>,
    /// Tamper: promises end by themselves after this long.
    pub(crate) promise_ends: Option<u64>,
    /// Tamper: one lease is enough.
    pub(crate) one_lease: bool,
    /// Tamper: nobody remembers to whom a promise was made.
    pub(crate) shared_promise: bool,
}

pub(crate) struct Leases0(pub(crate) Leases);

impl Default for Leases0 {
    fn default() -> Self {
        Self(bytemuck::Zeroable::zeroed())
    }
}

impl Kernel for Maps {
    fn own(&self) -> Option<Own> {
        self.own
    }
    fn set_own(&mut self, own: Own) {
        let needs =
            if self.one_lease && own.needs != clarion_fence::NEVER { own.needs.min(1) } else { own.needs };
        self.own = Some(Own { needs, ..own });
    }
    fn leases(&self) -> Leases {
        self.leases.0
    }
    fn peer(&self, node: NodeId) -> Option<Peer> {
        self.peers.get(&node).copied()
    }
    fn peers(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
    }
    fn watch(&mut self, node: NodeId, now: u64) {
        self.peers.entry(node).or_insert(Peer::new(now));
    }
    fn unwatch(&mut self, node: NodeId) {
        self.peers.remove(&node);
        self.granted.remove(&node);
    }
    fn granted(&self, node: NodeId) -> u64 {
        self.granted.get(&node).copied().unwrap_or(0)
    }
    fn set_granted(&mut self, node: NodeId, heard: u64) {
        self.granted.insert(node, heard);
    }
    fn ask(&mut self, about: NodeId, inc: u64, now: u64) -> Asked {
        self.own.map_or(Asked::NotSuspect, |own| self.promise(about, inc, own.id, now))
    }
    fn entries(&self) -> Vec<(IpAddr, Entry)> {
        self.entries.iter().map(|(address, entry)| (*address, *entry)).collect()
    }
    fn set_entry(&mut self, address: IpAddr, entry: Entry) {
        self.touched.push(address);
        self.entries.insert(address, entry);
    }
    fn delete_entry(&mut self, address: IpAddr) {
        self.touched.push(address);
        self.entries.remove(&address);
    }
}

impl Maps {
    /// The kernel's answer to an ASK.
    pub(crate) fn promise(&mut self, about: NodeId, inc: u64, asker: NodeId, now: u64) -> Asked {
        let word = self.granted.get(&about).copied().unwrap_or(0);
        let (Some(own), Some(peer)) = (self.own, self.peers.get_mut(&about)) else {
            return Asked::NotSuspect;
        };
        if self.shared_promise {
            peer.promise.by = asker;
        }
        clarion_fence::ask(&own, peer, |peer| peer.granted.max(word), inc, asker, now)
    }

    /// Promises end by themselves, if so tampered with.
    pub(crate) fn forget_promises(&mut self, now: u64) {
        let Some(after) = self.promise_ends else { return };
        for peer in self.peers.values_mut().filter(|peer| now.saturating_sub(peer.promise.at) > after) {
            peer.promise.inc = 0;
        }
    }
}

/// A boot clock: its own rate, its own start.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    base: u64,
    local: u64,
    rate: f64,
}

impl Clock {
    pub(crate) fn new(now: u64, local: u64, ppm: f64) -> Self {
        Self { base: now, local, rate: 1.0 + ppm / 1e6 }
    }

    pub(crate) fn local(&self, now: u64) -> u64 {
        self.local + ((now - self.base) as f64 * self.rate) as u64
    }

    /// When the clock will show `local`.
    pub(crate) fn when(&self, local: u64) -> u64 {
        self.base + (local.saturating_sub(self.local) as f64 / self.rate) as u64 + 1
    }

    /// The clock stood still since `from`.
    pub(crate) fn stood_still(&mut self, from: u64, now: u64) {
        self.local = self.local(from);
        self.base = now;
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) power: bool,
    /// Since when the whole machine stands still.
    pub(crate) frozen: Option<u64>,
    pub(crate) agent: Option<Machine>,
    pub(crate) agent_paused: bool,
    pub(crate) api: bool,
    /// Carrier is gone, as far as the agent was told.
    pub(crate) clock: Clock,
    pub(crate) maps: Maps,
    pub(crate) ring: Vec<(usize, Packet)>,
    pub(crate) socket: Vec<Input>,
    pub(crate) incs: u64,
    pub(crate) ppm: f64,
    /// When the pending timer fires.
    pub(crate) timer: u64,
    pub(crate) plan: Option<Arc<Plan>>,
    pub(crate) boots: u64,
}

impl Node {
    /// Whether the kernel runs.
    pub(crate) fn runs(&self) -> bool {
        self.power && self.frozen.is_none()
    }

    /// Whether the agent runs.
    pub(crate) fn agent_runs(&self) -> bool {
        self.runs() && self.agent.is_some() && !self.agent_paused
    }
}
