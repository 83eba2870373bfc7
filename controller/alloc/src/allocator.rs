//! Who holds which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, PoolName, ServiceKey, VipSet};

use crate::decision::Refusal;
use crate::pool::{Pool, PoolCounters, PoolSpec};
use crate::request::Claim;

/// The pools and the Services that hold addresses of them.
///
/// Invariants, checked by the property test against a plain model: an address has
/// two holders only where both claims allow it, a free address is in no holding,
/// and nothing but [`decide`](Self::decide) and [`release`](Self::release) takes
/// an address from a Service, so that neither a change of pools nor a restart moves one.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    pub(crate) pools: Vec<Pool>,
    pub(crate) by_name: BTreeMap<PoolName, usize>,
    /// First address of a range → (pool, span), to find the pool of an address.
    by_first: BTreeMap<IpAddr, (usize, usize)>,
    holdings: BTreeMap<Arc<ServiceKey>, Holding>,
    /// Address → holders, in order of their names.
    tenants: BTreeMap<IpAddr, Vec<Arc<ServiceKey>>>,
    /// Sharing key → addresses held under it.
    by_sharing: BTreeMap<String, BTreeSet<IpAddr>>,
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
    /// that: the next [`decide`](Self::decide) of each holder judges it.
    ///
    /// No two ranges may overlap (`clarion_config` sees to it); of two that do, the
    /// one that comes later in name and list is left out, so that no address is in two.
    pub fn set_pools(&mut self, mut specs: Vec<PoolSpec>) {
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        specs.dedup_by(|a, b| a.name == b.name);
        if specs.iter().eq(self.pools.iter().map(|p| &p.spec)) {
            return;
        }
        self.by_name = specs.iter().enumerate().map(|(i, spec)| (spec.name.clone(), i)).collect();
        self.pools = specs.into_iter().map(Pool::new).collect();
        self.by_first.clear();
        let mut ends = BTreeMap::<IpAddr, IpAddr>::new();
        for (i, pool) in self.pools.iter_mut().enumerate() {
            let mut at = 0;
            pool.spans.retain(|span| {
                let (first, last) = (span.range.first(), span.range.last());
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
        for address in self.tenants.keys() {
            if let Some((pool, span)) = locate(&self.by_first, *address) {
                self.pools[pool].spans[span].take(*address);
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

    /// Takes everything from a Service. Returns what it held.
    pub fn release(&mut self, key: &ServiceKey) -> Option<Holding> {
        let (key, holding) = self.holdings.remove_entry(key)?;
        for address in holding.addresses.iter() {
            self.leave(&key, address, &holding.claim);
        }
        Some(holding)
    }

    /// What a Service holds.
    #[must_use]
    pub fn holding(&self, key: &ServiceKey) -> Option<&Holding> {
        self.holdings.get(key)
    }

    /// All Services that hold something, in order.
    pub fn holdings(&self) -> impl Iterator<Item = (&ServiceKey, &Holding)> {
        self.holdings.iter().map(|(key, holding)| (key.as_ref(), holding))
    }

    /// Who holds an address, in order of their names.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.tenants.get(&address).into_iter().flatten().map(AsRef::as_ref)
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

    /// Whether the Service may hold the address on these terms, given who else does
    /// (contract §2.5). Its own terms until now do not count.
    pub(crate) fn may_hold(&self, key: &ServiceKey, address: IpAddr, claim: &Claim) -> Result<(), Refusal> {
        let others =
            || self.tenants.get(&address).into_iter().flatten().filter(|other| other.as_ref() != key);
        let claims = || others().filter_map(|other| self.holdings.get(other)).map(|holding| &holding.claim);
        let same_terms = |other: &Arc<Claim>| {
            !claim.sharing.is_empty() && other.sharing == claim.sharing && other.backend == claim.backend
        };
        if !claims().all(same_terms) {
            return Err(Refusal::SharingKey {
                address,
                holders: others().map(|k| k.as_ref().clone()).collect(),
            });
        }
        let taken = claim.ports.iter().find(|port| claims().any(|other| other.ports.contains(port)));
        taken.map_or(Ok(()), |port| Err(Refusal::PortTaken { port: *port, address }))
    }

    /// Makes this what the Service holds. The caller has asked [`Self::may_hold`].
    pub(crate) fn hold(&mut self, key: &ServiceKey, addresses: VipSet, claim: &Arc<Claim>) {
        self.release(key);
        if addresses.is_empty() {
            return;
        }
        let key = Arc::new(key.clone());
        for address in addresses.iter() {
            self.join(&key, address, claim);
        }
        self.holdings.insert(key, Holding { addresses, claim: Arc::clone(claim) });
    }

    /// The lowest address of a family in a pool that the Service may hold: free, or
    /// shared on its terms. Ranges come in the order written (contract §2.3 rule 6).
    pub(crate) fn lowest(
        &self,
        pool: usize,
        family: Family,
        key: &ServiceKey,
        claim: &Claim,
    ) -> Option<IpAddr> {
        let spans = self.pools[pool].spans.iter().filter(|span| span.range.family() == family);
        spans.into_iter().find_map(|span| {
            let free = span.lowest_free();
            let shared = self.by_sharing.get(&claim.sharing).and_then(|addresses| {
                let below = free.unwrap_or(span.range.last());
                addresses
                    .range(span.range.first()..=below)
                    .copied()
                    .find(|a| span.contains(*a) && self.may_hold(key, *a, claim).is_ok())
            });
            shared.or(free)
        })
    }

    fn locate(&self, address: IpAddr) -> Option<(usize, usize)> {
        let at = locate(&self.by_first, address)?;
        self.pools[at.0].spans[at.1].contains(address).then_some(at)
    }

    fn join(&mut self, key: &Arc<ServiceKey>, address: IpAddr, claim: &Claim) {
        let holders = self.tenants.entry(address).or_default();
        if let Err(at) = holders.binary_search(key) {
            holders.insert(at, Arc::clone(key));
        }
        if !claim.sharing.is_empty() {
            self.by_sharing.entry(claim.sharing.clone()).or_default().insert(address);
        }
        if let Some((pool, span)) = self.locate(address) {
            self.pools[pool].spans[span].take(address);
        }
    }

    fn leave(&mut self, key: &Arc<ServiceKey>, address: IpAddr, claim: &Claim) {
        let Some(holders) = self.tenants.get_mut(&address) else { return };
        holders.retain(|holder| holder != key);
        if !holders.is_empty() {
            // Those who share hold it under the same key.
            return;
        }
        self.tenants.remove(&address);
        if let Some(addresses) = self.by_sharing.get_mut(&claim.sharing) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_sharing.remove(&claim.sharing);
            }
        }
        if let Some((pool, span)) = self.locate(address) {
            self.pools[pool].spans[span].give(address);
        }
    }
}

/// The span that starts at or below the address. Spans do not overlap, so that is
/// the only one that can contain it.
fn locate(by_first: &BTreeMap<IpAddr, (usize, usize)>, address: IpAddr) -> Option<(usize, usize)> {
    by_first.range(..=address).next_back().map(|(_, at)| *at)
}
