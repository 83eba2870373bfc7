//! Who holds an address, and which addresses are shared under a key (contract §2.5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::ServiceKey;

use crate::decision::Discord;
use crate::request::{Claim, Port};

/// Holders by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenants {
    by_address: HashMap<IpAddr, Tenancy>,
    /// Sharing key → what is in use under it → addresses where just that is in use. So the
    /// lowest address with certain ports free is found without looking at each that has not.
    groups: HashMap<String, BTreeMap<Occupancy, BTreeSet<IpAddr>>>,
}

/// The holders of one address, and on what terms.
#[derive(Debug, Clone)]
enum Tenancy {
    Sole {
        holder: Arc<ServiceKey>,
        claim: Arc<Claim>,
    },
    Shared {
        /// At least two, in order.
        holders: Vec<Arc<ServiceKey>>,
        /// Whose sharing and backend key are those of all.
        claim: Arc<Claim>,
        /// Of all of them, in order. No two have one in common.
        ports: Vec<Port>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Occupancy {
    backend: String,
    ports: Vec<Port>,
}

/// Why a Service may not hold an address that others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    Terms(Discord),
    Port(Port),
}

/// What is left of an address's holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nobody,
    Others,
}

impl Tenants {
    /// All held addresses, in no order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// Who holds an address, in order of their names.
    pub(crate) fn holders(&self, address: IpAddr) -> &[Arc<ServiceKey>] {
        match self.by_address.get(&address) {
            None => &[],
            Some(Tenancy::Sole { holder, .. }) => std::slice::from_ref(holder),
            Some(Tenancy::Shared { holders, .. }) => holders,
        }
    }

    /// What is in the way of a Service that would hold an address on these terms. `now` are
    /// its terms there until now, which do not count.
    pub(crate) fn objection(
        &self,
        key: &ServiceKey,
        now: Option<&Claim>,
        address: IpAddr,
        claim: &Claim,
    ) -> Option<Objection> {
        match self.by_address.get(&address)? {
            Tenancy::Sole { holder, .. } if holder.as_ref() == key => None,
            Tenancy::Sole { claim: other, .. } => {
                let taken = || claim.ports.iter().find(|port| other.ports.contains(port));
                discord(other, claim).or_else(|| taken().copied().map(Objection::Port))
            }
            Tenancy::Shared { holders, claim: other, ports } => {
                let mine = now.filter(|_| holders.binary_search_by(|h| h.as_ref().cmp(key)).is_ok());
                let taken = |port: &&Port| {
                    ports.binary_search(port).is_ok() && !mine.is_some_and(|mine| mine.ports.contains(port))
                };
                let taken = || claim.ports.iter().find(taken);
                discord(other, claim).or_else(|| taken().copied().map(Objection::Port))
            }
        }
    }

    /// Addresses that a newcomer with this claim may share, in sets of which each is in order.
    pub(crate) fn open_to(&self, claim: &Claim) -> impl Iterator<Item = &BTreeSet<IpAddr>> {
        let group = if claim.sharing.is_empty() { None } else { self.groups.get(&claim.sharing) };
        let suits = |occupancy: &Occupancy| {
            occupancy.backend == claim.backend
                && !claim.ports.iter().any(|port| occupancy.ports.binary_search(port).is_ok())
        };
        group.into_iter().flatten().filter(move |(occupancy, _)| suits(occupancy)).map(|(_, set)| set)
    }

    /// Adds a holder, who is none yet. True if there was none at all.
    pub(crate) fn join(&mut self, key: &Arc<ServiceKey>, address: IpAddr, claim: &Arc<Claim>) -> bool {
        let before = self.take(address);
        let first = before.is_none();
        let sole = || Tenancy::Sole { holder: Arc::clone(key), claim: Arc::clone(claim) };
        let tenancy = match before {
            None => sole(),
            Some(Tenancy::Sole { holder, claim: other }) => {
                let mut holders = vec![holder, Arc::clone(key)];
                holders.sort();
                let ports = other.ports.union(&claim.ports).copied().collect();
                Tenancy::Shared { holders, claim: other, ports }
            }
            Some(Tenancy::Shared { mut holders, claim: other, mut ports }) => {
                if let Err(at) = holders.binary_search(key) {
                    holders.insert(at, Arc::clone(key));
                }
                for port in &claim.ports {
                    if let Err(at) = ports.binary_search(port) {
                        ports.insert(at, *port);
                    }
                }
                Tenancy::Shared { holders, claim: other, ports }
            }
        };
        self.put(address, tenancy);
        first
    }

    /// Takes a holder away, who held the address on these terms. `last` finds the terms of
    /// the one that stays alone.
    pub(crate) fn leave<'a>(
        &mut self,
        key: &ServiceKey,
        address: IpAddr,
        claim: &Claim,
        last: impl FnOnce(&ServiceKey) -> Option<&'a Arc<Claim>>,
    ) -> Left {
        let Some(Tenancy::Shared { mut holders, claim: terms, mut ports }) = self.take(address) else {
            return Left::Nobody;
        };
        holders.retain(|holder| holder.as_ref() != key);
        ports.retain(|port| !claim.ports.contains(port));
        let tenancy = match holders.as_slice() {
            [one] => {
                let claim = last(one).unwrap_or(&terms);
                Tenancy::Sole { holder: Arc::clone(one), claim: Arc::clone(claim) }
            }
            _ => Tenancy::Shared { holders, claim: terms, ports },
        };
        self.put(address, tenancy);
        Left::Others
    }

    /// Takes an address out of both maps.
    fn take(&mut self, address: IpAddr) -> Option<Tenancy> {
        let tenancy = self.by_address.remove(&address)?;
        if let Some((sharing, occupancy)) = tenancy.occupancy()
            && let Some(group) = self.groups.get_mut(sharing)
        {
            if let Some(set) = group.get_mut(&occupancy) {
                set.remove(&address);
                if set.is_empty() {
                    group.remove(&occupancy);
                }
            }
            if group.is_empty() {
                self.groups.remove(sharing);
            }
        }
        Some(tenancy)
    }

    /// Puts an address into both maps.
    fn put(&mut self, address: IpAddr, tenancy: Tenancy) {
        if let Some((sharing, occupancy)) = tenancy.occupancy() {
            let group = match self.groups.get_mut(sharing) {
                Some(group) => group,
                None => self.groups.entry(sharing.to_owned()).or_default(),
            };
            group.entry(occupancy).or_default().insert(address);
        }
        self.by_address.insert(address, tenancy);
    }
}

impl Tenancy {
    /// Sharing key and what is in use under it; `None` if it is not to be shared.
    fn occupancy(&self) -> Option<(&str, Occupancy)> {
        let (Self::Sole { claim, .. } | Self::Shared { claim, .. }) = self;
        if claim.sharing.is_empty() {
            return None;
        }
        let ports = match self {
            Self::Sole { claim, .. } => claim.ports.iter().copied().collect(),
            Self::Shared { ports, .. } => ports.clone(),
        };
        Some((&claim.sharing, Occupancy { backend: claim.backend.clone(), ports }))
    }
}

/// In MetalLB's order.
fn discord(theirs: &Claim, ours: &Claim) -> Option<Objection> {
    let discord = if theirs.sharing.is_empty() {
        Discord::Theirs
    } else if ours.sharing.is_empty() {
        Discord::Ours
    } else if theirs.sharing != ours.sharing {
        Discord::Keys
    } else if theirs.backend != ours.backend {
        Discord::Backends
    } else {
        return None;
    };
    Some(Objection::Terms(discord))
}
