//! What this agent knows about who owns what: for each address the greatest
//! (epoch, node, incarnation) of all claims heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_fence::NodeId;

use super::timing::MS;

/// Most records of addresses that no plan has (yet).
const EARLY: usize = 4096;
/// For so long they are kept: a plan that took longer is that of another life.
const EARLY_LIFE: u64 = 60_000 * MS;

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
    /// What was claimed of addresses that are not planned here, and when: others may have
    /// a newer plan. Whoever takes such an address must know that it has an owner.
    early: BTreeMap<IpAddr, (Record, u64)>,
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

    /// Keeps a record of an address that is not planned; `false` if there are too many.
    pub(super) fn early(&mut self, address: IpAddr, record: Record, now: u64) -> bool {
        if self.early.len() >= EARLY && !self.early.contains_key(&address) {
            return false;
        }
        let (known, at) = self.early.entry(address).or_insert((record, now));
        (*known, *at) = ((*known).max(record), now);
        true
    }

    /// What was known early of addresses that are planned now is known in earnest.
    pub(super) fn planned(&mut self, planned: impl Fn(&IpAddr) -> bool, now: u64) {
        for (address, (record, at)) in std::mem::take(&mut self.early) {
            if planned(&address) {
                self.raise(address, record);
            } else if now.saturating_sub(at) <= EARLY_LIFE {
                self.early.insert(address, (record, at));
            }
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
