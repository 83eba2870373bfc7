//! Who holds which address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, PoolName, ServiceKey, VipSet};

use crate::decision::Refusal;
use crate::pool::{Pool, PoolCounters, PoolSpec};
use crate::request::{Claim, Port};
use crate::roster::Rosters;
use crate::tenants::{Left, Objection, Tenants};
use crate::waiting::{Stir, Waiting};

/// The pools and the Services that hold addresses of them.
///
/// Invariants, checked by the property test against a plain model: an address has
/// two holders only where both claims allow it, a free address is in no holding,
/// nothing but [`decide`](Self::decide) and [`release`](Self::release) takes
/// an address from a Service, so that neither a change of pools nor a restart moves one,
/// and nobody waits for what he could have, once those woken have been decided on.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    pub(crate) pools: Vec<Pool>,
    pub(crate) by_name: BTreeMap<PoolName, usize>,
    /// First address of a range → (pool, span), to find the pool of an address.
    by_first: BTreeMap<IpAddr, (usize, usize)>,
    holdings: HashMap<Arc<ServiceKey>, Holding>,
    tenants: Tenants,
    pub(crate) rosters: Rosters,
    pub(crate) waiting: Waiting,
}

/// What a Service holds, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its addresses.
    pub addresses: VipSet,
    /// Its terms.
    pub claim: Arc<Claim>,
}

impl Allocator {
    /// No pools, no holders.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts these pools in the place of those before. Nobody loses an address by
    /// that: the next [`decide`](Self::decide) of each holder judges it. Nobody waits any
    /// longer either, so whoever has less than it wants has to be decided on too.
    ///
    /// No two ranges may overlap (`clarion_config` sees to it); of two that do, the
    /// one that comes later in name and list is left out, so that no address is in two.
    pub fn set_pools(&mut self, mut specs: Vec<PoolSpec>) {
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        specs.dedup_by(|a, b| a.name == b.name);
        if specs.iter().eq(self.pools.iter().map(|p| &p.spec)) {
            return;
        }
        self.rosters.clear();
        self.waiting.clear();
        self.by_name = specs.iter().enumerate().map(|(i, spec)| (spec.name.clone(), i)).collect();
        self.pools = specs.into_iter().map(Pool::new).collect();
        self.by_first.clear();
        let mut ends = BTreeMap::<IpAddr, IpAddr>::new();
        for (i, pool) in self.pools.iter_mut().enumerate() {
            let mut at = 0;
            pool.settle(|range| {
                let (first, last) = (range.first(), range.last());
                // Of the ranges that start at or below our end the highest reaches farthest.
                let overlaps = ends.range(..=last).next_back().is_some_and(|(_, end)| *end >= first);
                if !overlaps {
                    ends.insert(first, last);
                    self.by_first.insert(first, (i, at));
                    at += 1;
                }
                !overlaps
            });
        }
        for address in self.tenants.addresses() {
            if let Some((pool, span)) = locate(&self.pools, &self.by_first, address) {
                self.pools[pool].take(span, address);
            }
        }
    }

    /// Puts back what a Service's status says, on its claim: after a start, for all
    /// Services that have addresses, before the first [`decide`](Self::decide).
    /// Whether the pools still allow it is for `decide` to judge.
    ///
    /// # Errors
    /// Somebody else holds an address of these and does not share it. The Service
    /// then holds what it held before.
    pub fn recover(
        &mut self,
        key: &ServiceKey,
        addresses: VipSet,
        claim: &Arc<Claim>,
    ) -> Result<(), Refusal> {
        for address in addresses.iter() {
            self.may_hold(key, address, claim)?;
        }
        self.hold(key, addresses, claim);
        Ok(())
    }

    /// Takes everything from a Service, which is gone. Returns what it held.
    pub fn release(&mut self, key: &ServiceKey) -> Option<Holding> {
        self.waiting.gone(key);
        self.give_up(key)
    }

    /// What a Service holds.
    #[must_use]
    pub fn holding(&self, key: &ServiceKey) -> Option<&Holding> {
        self.holdings.get(key)
    }

    /// All Services that hold something, in order.
    pub fn holdings(&self) -> impl Iterator<Item = (&ServiceKey, &Holding)> {
        let mut all: Vec<_> = self.holdings.iter().map(|(key, holding)| (key.as_ref(), holding)).collect();
        all.sort_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// Who holds an address, in order of their names.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.tenants.holders(address).iter().map(AsRef::as_ref)
    }

    /// The pool that may give this address away.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&PoolName> {
        self.locate(address).map(|(pool, _)| &self.pools[pool].spec.name)
    }

    /// Counters of each pool, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&PoolName, PoolCounters)> {
        self.pools.iter().map(|pool| (&pool.spec.name, pool.counters()))
    }

    /// What is in the way of a Service that would hold an address on these terms.
    pub(crate) fn objection(&self, key: &ServiceKey, address: IpAddr, claim: &Claim) -> Option<Objection> {
        let now = self.holdings.get(key).filter(|holding| holding.addresses.contains(address));
        self.tenants.objection(key, now.map(|holding| holding.claim.as_ref()), address, claim)
    }

    /// Whether the Service may hold the address on these terms, given who else does
    /// (contract §2.5). Its own terms until now do not count.
    pub(crate) fn may_hold(&self, key: &ServiceKey, address: IpAddr, claim: &Claim) -> Result<(), Refusal> {
        let others = || self.holders(address).filter(|other| *other != key);
        Err(match self.objection(key, address, claim) {
            None => return Ok(()),
            Some(Objection::Terms(why)) => Refusal::SharingKey {
                service: key.clone(),
                address,
                holders: others().cloned().collect(),
                why,
            },
            Some(Objection::Port(port)) => {
                Refusal::PortTaken { port, address, holder: self.listener(key, address, port) }
            }
        })
    }

    /// Who else holds an address and listens on a port of it.
    fn listener(&self, key: &ServiceKey, address: IpAddr, port: Port) -> Option<ServiceKey> {
        let listens = |other: &&ServiceKey| {
            *other != key && self.holdings.get(*other).is_some_and(|h| h.claim.ports.contains(&port))
        };
        self.holders(address).find(listens).cloned()
    }

    /// Makes this what the Service holds. The caller has asked [`Self::may_hold`].
    pub(crate) fn hold(&mut self, key: &ServiceKey, addresses: VipSet, claim: &Arc<Claim>) {
        let same = |holding: &Holding| holding.addresses == addresses && holding.claim == *claim;
        if self.holdings.get(key).is_some_and(same) {
            return;
        }
        let (key, before) = match self.holdings.remove_entry(key) {
            Some((key, before)) => (key, Some(before)),
            None => (Arc::new(key.clone()), None),
        };
        for address in before.iter().flat_map(|before| before.addresses.iter()) {
            let stays = addresses.contains(address);
            self.leave(&key, address, before.as_ref().map_or(claim, |before| &before.claim), stays);
        }
        for address in addresses.iter() {
            self.join(&key, address, claim);
        }
        if !addresses.is_empty() {
            self.holdings.insert(key, Holding { addresses, claim: Arc::clone(claim) });
        }
    }

    /// Takes everything from a Service, which may go on waiting.
    pub(crate) fn give_up(&mut self, key: &ServiceKey) -> Option<Holding> {
        let (key, holding) = self.holdings.remove_entry(key)?;
        for address in holding.addresses.iter() {
            self.leave(&key, address, &holding.claim, false);
        }
        Some(holding)
    }

    /// The lowest address of a family in a pool that the Service may hold, who holds none of
    /// that family: free, or shared on its terms. Ranges come in the order written (contract
    /// §2.3 rule 6).
    pub(crate) fn lowest(&self, pool: usize, family: Family, claim: &Claim) -> Option<IpAddr> {
        let pool = &self.pools[pool];
        let mut best = pool.first_free(family);
        if claim.sharing.is_empty() {
            return best.map(|(_, address)| address);
        }
        for set in self.tenants.open_to(claim) {
            let spans = pool.spans.iter().enumerate().take(best.map_or(usize::MAX, |(at, _)| at + 1));
            for (at, span) in spans.filter(|(_, span)| span.range.family() == family) {
                let addresses = set.range(span.range.first()..=span.range.last());
                if let Some(address) = addresses.copied().find(|a| span.contains(*a)) {
                    best = best.map_or(Some((at, address)), |best| Some(best.min((at, address))));
                    break;
                }
            }
        }
        best.map(|(_, address)| address)
    }

    fn locate(&self, address: IpAddr) -> Option<(usize, usize)> {
        locate(&self.pools, &self.by_first, address)
    }

    fn join(&mut self, key: &Arc<ServiceKey>, address: IpAddr, claim: &Arc<Claim>) {
        if !self.tenants.join(key, address, claim) {
            return;
        }
        if !claim.sharing.is_empty() {
            self.waiting.stir(Stir::Shared(claim.sharing.clone()));
        }
        if let Some((pool, span)) = self.locate(address) {
            self.pools[pool].take(span, address);
        }
    }

    /// `stays`: the Service goes on holding the address, on other terms.
    fn leave(&mut self, key: &ServiceKey, address: IpAddr, claim: &Claim, stays: bool) {
        let holdings = &self.holdings;
        let left =
            self.tenants.leave(key, address, claim, |last| holdings.get(last).map(|holding| &holding.claim));
        self.waiting.stir(Stir::Address(address));
        if left == Left::Others {
            self.waiting.stir(Stir::Shared(claim.sharing.clone()));
        } else if let Some((pool, span)) = self.locate(address) {
            self.pools[pool].give(span, address);
            if !stays {
                self.waiting.stir(Stir::Freed(pool, Family::of(address)));
            }
        }
    }
}

/// The span that starts at or below the address. Spans do not overlap, so that is
/// the only one that can contain it.
fn locate(
    pools: &[Pool],
    by_first: &BTreeMap<IpAddr, (usize, usize)>,
    address: IpAddr,
) -> Option<(usize, usize)> {
    let (_, (pool, span)) = by_first.range(..=address).next_back()?;
    pools[*pool].spans[*span].contains(address).then_some((*pool, *span))
}
