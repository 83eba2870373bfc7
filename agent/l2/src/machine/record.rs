//! What this agent knows about who owns what: for each address the greatest
//! (epoch, node, incarnation) of all claims heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_fence::NodeId;

/// A claim. The order decides between two owners, so the epoch comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Greater than that of the owner before.
    pub epoch: u64,
    /// The owner.
    pub node: NodeId,
    /// Its incarnation.
    pub inc: u64,
}

/// All records, and which addresses each incarnation of each node owns by them.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    all: BTreeMap<IpAddr, Record>,
    owned: BTreeMap<(NodeId, u64), BTreeSet<IpAddr>>,
    changed: BTreeSet<IpAddr>,
}

impl Records {
    /// The addresses whose record has changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn get(&self, address: IpAddr) -> Option<Record> {
        self.all.get(&address).copied()
    }

    /// The epoch known, 0 when the address was never claimed.
    pub(super) fn epoch(&self, address: IpAddr) -> u64 {
        self.get(address).map_or(0, |record| record.epoch)
    }

    /// Keeps the greater one.
    pub(super) fn raise(&mut self, address: IpAddr, record: Record) {
        if self.get(address).is_none_or(|known| record > known) {
            self.forget(address);
            self.all.insert(address, record);
            self.changed.insert(address);
            self.owned.entry((record.node, record.inc)).or_default().insert(address);
        }
    }

    /// The address is no longer served.
    pub(super) fn forget(&mut self, address: IpAddr) {
        let Some(record) = self.all.remove(&address) else { return };
        self.changed.insert(address);
        let key = (record.node, record.inc);
        if let Some(owned) = self.owned.get_mut(&key) {
            owned.remove(&address);
            if owned.is_empty() {
                self.owned.remove(&key);
            }
        }
    }

    /// The lowest and the highest incarnation of the node that owns something.
    pub(super) fn incarnations(&self, node: NodeId) -> Option<(u64, u64)> {
        let mut range = self.owned.range((node, 0)..=(node, u64::MAX)).map(|((_, inc), _)| *inc);
        let first = range.next()?;
        Some((first, range.next_back().unwrap_or(first)))
    }

    /// What the node owns by incarnations up to `inc`.
    pub(super) fn owned(&self, node: NodeId, inc: u64) -> impl Iterator<Item = (IpAddr, Record)> + '_ {
        let sets = self.owned.range((node, 0)..=(node, inc)).flat_map(|(_, set)| set);
        sets.filter_map(|address| Some((*address, self.get(*address)?)))
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all.keys().copied()
    }
}
