//! Adj-RIB-Out (RFC 4271 §3.2): what one peer has been told on this session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use clarion_core::{Asn, Family};
use ipnet::IpNet;

use super::{NextHopPolicy, RouteAttributes, Routes, Withheld};
use crate::session::LocalAddresses;
use crate::wire::{PathAttributes, UpdateEncoder};

/// LOCAL_PREF where none is asked for: what every router takes as the default.
const DEFAULT_LOCAL_PREF: u32 = 100;
/// Greatest number of AS repetitions; routers cut or refuse longer paths.
const MAX_PREPEND: u8 = 32;

/// What of a session decides how routes are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Writes the messages.
    pub encoder: UpdateEncoder,
    /// The peer is in our AS.
    pub internal: bool,
    /// The AS shown to the peer.
    pub local_asn: Asn,
    /// Where next hops come from.
    pub local: LocalAddresses,
    /// Families we offered.
    pub offered: BTreeSet<Family>,
    /// Families both offered.
    pub families: BTreeSet<Family>,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

/// Next hop and, for IPv6, the link-local one beside it.
type Hop = (IpAddr, Option<Ipv6Addr>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    attributes: RouteAttributes,
    hop: Hop,
}

#[derive(Debug)]
struct Entry {
    said: Arc<Said>,
    /// False once the peer asked to hear it again.
    fresh: bool,
}

/// What was sent, and what is to be sent next.
#[derive(Debug)]
pub struct AdjRibOut {
    outbound: Outbound,
    sent: BTreeMap<IpNet, Entry>,
    withheld: BTreeMap<Withheld, usize>,
    /// Families whose first complete round is still owed its End-of-RIB.
    owed: BTreeSet<Family>,
    /// The routes that were completely sent: while they stay, there is nothing to compare.
    settled: Option<Arc<Routes>>,
}

/// Messages to send now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whole UPDATEs, one after the other.
    pub octets: Vec<u8>,
    /// How many.
    pub updates: u64,
    /// Families whose End-of-RIB is among them.
    pub end_of_rib: Vec<Family>,
}

impl Batch {
    fn push(&mut self, message: &[u8]) {
        self.octets.extend_from_slice(message);
        self.updates += 1;
    }
}

/// The difference between what should be and what was said.
struct Difference<'a> {
    gone: BTreeMap<Family, Vec<IpNet>>,
    changed: BTreeMap<(Family, Hop, &'a RouteAttributes), Vec<IpNet>>,
}

impl AdjRibOut {
    /// For a session that has just come up: nothing was sent.
    #[must_use]
    pub fn new(outbound: Outbound) -> Self {
        let owed = outbound.families.clone();
        Self { outbound, sent: BTreeMap::new(), withheld: BTreeMap::new(), owed, settled: None }
    }

    /// How many prefixes the peer holds from us.
    #[must_use]
    pub fn announced(&self) -> usize {
        self.sent.len()
    }

    /// Routes that cannot be sent, by reason; of the last complete comparison.
    #[must_use]
    pub fn withheld(&self) -> &BTreeMap<Withheld, usize> {
        &self.withheld
    }

    /// The peer wants to hear a family again (RFC 2918 §4).
    pub fn refresh(&mut self, family: Family) {
        for entry in self.sent.iter_mut().filter(|(prefix, _)| family_of(prefix) == family) {
            entry.1.fresh = false;
        }
        self.settled = None;
    }

    /// The next messages, withdrawals first, up to about `budget` octets (at least
    /// one message; at most one more than fits). Empty when the peer knows everything.
    pub fn next_batch(&mut self, desired: &Arc<Routes>, budget: usize) -> Batch {
        let mut batch = Batch::default();
        if self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, desired)) {
            return batch;
        }
        let (difference, withheld) = self.difference(desired);
        self.withheld = withheld;
        let complete =
            self.withdraw(&difference, budget, &mut batch) && self.announce(difference, budget, &mut batch);
        if complete {
            self.settled = Some(Arc::clone(desired));
            for family in std::mem::take(&mut self.owed) {
                if let Some(marker) = self.outbound.encoder.end_of_rib(family) {
                    batch.push(&marker);
                    batch.end_of_rib.push(family);
                }
            }
        }
        batch
    }

    fn difference<'a>(&self, desired: &'a Routes) -> (Difference<'a>, BTreeMap<Withheld, usize>) {
        let mut difference = Difference { gone: BTreeMap::new(), changed: BTreeMap::new() };
        let mut withheld = BTreeMap::new();
        // Both sides are sorted: one walk over both, no look-ups.
        let mut sent = self.sent.iter().peekable();
        let mut gone = |prefix: &IpNet| difference.gone.entry(family_of(prefix)).or_default().push(*prefix);
        for (prefix, attributes) in desired {
            while let Some((old, _)) = sent.next_if(|(old, _)| *old < prefix) {
                gone(old);
            }
            let before = sent.next_if(|(old, _)| *old == prefix);
            match self.outbound.next_hop(prefix, attributes) {
                Ok(hop) => {
                    let known = before.is_some_and(|(_, entry)| {
                        entry.fresh && entry.said.hop == hop && entry.said.attributes == *attributes
                    });
                    if !known {
                        let key = (family_of(prefix), hop, attributes);
                        difference.changed.entry(key).or_default().push(*prefix);
                    }
                }
                Err(reason) => {
                    *withheld.entry(reason).or_default() += 1;
                    if let Some((old, _)) = before {
                        gone(old);
                    }
                }
            }
        }
        sent.for_each(|(old, _)| gone(old));
        (difference, withheld)
    }

    /// Whether all withdrawals found room.
    fn withdraw(&mut self, difference: &Difference<'_>, budget: usize, batch: &mut Batch) -> bool {
        for (family, prefixes) in &difference.gone {
            let mut rest = prefixes.as_slice();
            while let Some((message, count)) = self.outbound.encoder.withdraw(*family, rest) {
                if batch.octets.len() >= budget {
                    return false;
                }
                batch.push(&message);
                let (told, later) = rest.split_at(count);
                for prefix in told {
                    self.sent.remove(prefix);
                }
                rest = later;
            }
        }
        true
    }

    /// Whether all announcements found room.
    fn announce(&mut self, difference: Difference<'_>, budget: usize, batch: &mut Batch) -> bool {
        for ((family, hop, attributes), prefixes) in difference.changed {
            let path = self.outbound.path(attributes, hop);
            let said = Arc::new(Said { attributes: attributes.clone(), hop });
            let mut rest = prefixes.as_slice();
            while !rest.is_empty() {
                if batch.octets.len() >= budget {
                    return false;
                }
                let Some((message, count)) = self.outbound.encoder.announce(family, &path, rest) else {
                    self.too_long(family, rest, batch);
                    break;
                };
                batch.push(&message);
                let (told, later) = rest.split_at(count);
                for prefix in told {
                    self.sent.insert(*prefix, Entry { said: Arc::clone(&said), fresh: true });
                }
                rest = later;
            }
        }
        true
    }

    /// Nothing may be said about these; what was said before is taken back.
    fn too_long(&mut self, family: Family, prefixes: &[IpNet], batch: &mut Batch) {
        *self.withheld.entry(Withheld::AttributesTooLong(family)).or_default() += prefixes.len();
        let known: Vec<_> = prefixes.iter().copied().filter(|p| self.sent.remove(p).is_some()).collect();
        let mut rest = known.as_slice();
        while let Some((message, count)) = self.outbound.encoder.withdraw(family, rest) {
            batch.push(&message);
            rest = &rest[count..];
        }
    }
}

impl Outbound {
    fn next_hop(&self, prefix: &IpNet, attributes: &RouteAttributes) -> Result<Hop, Withheld> {
        let family = family_of(prefix);
        if !self.offered.contains(&family) {
            return Err(Withheld::FamilyNotConfigured(family));
        }
        if !self.families.contains(&family) {
            return Err(Withheld::FamilyNotOffered(family));
        }
        if is_multicast(prefix) {
            return Err(Withheld::NotUnicast(family));
        }
        let fits = |address: &IpAddr| {
            Family::of(*address) == family || (family == Family::V4 && self.extended_next_hop)
        };
        match attributes.next_hop {
            NextHopPolicy::Address(address) => Some(address).filter(fits).map(|address| (address, None)),
            NextHopPolicy::Session => self.own(family).filter(|(address, _)| fits(address)),
        }
        .ok_or(Withheld::NoNextHop(family))
    }

    fn own(&self, family: Family) -> Option<Hop> {
        let own =
            self.local.of_family(family).or_else(|| self.extended_next_hop.then_some(self.local.session))?;
        Some(match own {
            IpAddr::V4(_) => (own, None),
            // A session between link-local addresses: RFC 2545 §3 wants a global
            // address first; where there is none, routers take the link-local one.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                (IpAddr::V6(self.local.v6.unwrap_or(v6)), Some(v6))
            }
            IpAddr::V6(_) => (own, self.local.link_local),
        })
    }

    fn path(&self, attributes: &RouteAttributes, (next_hop, link_local): Hop) -> PathAttributes {
        let repeated = 1 + usize::from(attributes.prepend.min(MAX_PREPEND));
        PathAttributes {
            // RFC 4271 §5.1.2: our AS to others, nothing to internal peers.
            as_path: if self.internal { Vec::new() } else { vec![self.local_asn; repeated] },
            next_hop,
            link_local,
            med: attributes.med,
            // RFC 4271 §5.1.5: mandatory to internal peers, forbidden to others.
            local_pref: self.internal.then(|| attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)),
            communities: attributes.communities.clone(),
        }
    }
}

fn family_of(prefix: &IpNet) -> Family {
    Family::of(prefix.addr())
}

/// Multicast and the limited broadcast address cannot be unicast NLRI.
fn is_multicast(prefix: &IpNet) -> bool {
    let unfit = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    unfit(prefix.network())
}
