//! The rules: what a Service keeps, gets or is refused (contract §2.3, §2.6, §2.7).

use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, ServiceKey, VipSet};

use crate::allocator::Allocator;
use crate::decision::{Cleared, Decision, Grant, Lack, Outcome, Refusal, Unfit};
use crate::pool::Pool;
use crate::request::{Claim, Families, Request, Wish};
use crate::roster::Roster;
use crate::waiting::Spot;

/// Whether a Service may keep what it has.
enum Standing {
    /// All of it, or the family that it still needs.
    Keep(Grant),
    /// Its owner asks for something else.
    Unwanted,
    /// The configuration or another holder does not allow it any longer.
    Forbidden(Refusal),
}

impl Allocator {
    /// Decides what a Service has from now on: what it holds, as long as that is
    /// allowed and asked for, else something new. Asking again changes nothing. Who gets
    /// less than it wants waits, and [`take_woken`](Self::take_woken) names it when there
    /// may be more.
    pub fn decide(&mut self, key: &ServiceKey, request: &Request) -> Decision {
        let decision = self.settle(key, request);
        let spot = self.spot(request, &decision.outcome);
        self.waiting.decided(key, request.created_s, &request.claim, spot);
        decision
    }

    fn settle(&mut self, key: &ServiceKey, request: &Request) -> Decision {
        let mut cleared = None;
        if let Some(addresses) = self.holding(key).map(|holding| holding.addresses) {
            match self.judge(key, addresses, request) {
                Standing::Keep(grant) => {
                    if let Some(outcome) = self.keep(key, grant, request) {
                        return Decision { cleared: None, outcome };
                    }
                    cleared = Some(Cleared { addresses, why: None });
                }
                Standing::Unwanted => cleared = Some(Cleared { addresses, why: None }),
                Standing::Forbidden(why) => cleared = Some(Cleared { addresses, why: Some(why) }),
            }
            self.give_up(key);
        }
        let outcome = match self.find(key, request) {
            Ok(grant) => {
                let before = cleared.as_ref().map_or_else(VipSet::default, |cleared| cleared.addresses);
                let grant = self.rather_stay(key, before, grant, request);
                self.hold(key, grant.addresses, &request.claim);
                self.assigned(grant, request)
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        Decision { cleared, outcome }
    }

    /// Says so if it is less than the Service would like.
    fn assigned(&self, grant: Grant, request: &Request) -> Outcome {
        let missing = missing(grant.addresses).filter(|_| request.families.may_be_two());
        match missing {
            Some(missing) => {
                let lack = self.lack(self.by_name.get(&grant.pool).copied(), Families::One(missing));
                let why = Refusal::PoolExhausted(grant.pool.clone(), lack);
                Outcome::AssignedSingle { grant, why }
            }
            None => Outcome::Assigned(grant),
        }
    }

    /// A Service that had two addresses and finds only one anew keeps that of the two which
    /// is still allowed: no need to move.
    fn rather_stay(&self, key: &ServiceKey, before: VipSet, found: Grant, request: &Request) -> Grant {
        let Families::Prefer { first } = request.families else { return found };
        let wanted = matches!(request.wish, Wish::Any | Wish::Pool(_));
        if !wanted || found.addresses.iter().count() > 1 || before.iter().count() < 2 {
            return found;
        }
        let remaining = |family| {
            let address = before.get(family)?;
            let grant = self.may_have(key, single(address), request).ok()?;
            let at = self.by_name.get(&grant.pool)?;
            let asked = !matches!(&request.wish, Wish::Pool(pool) if *pool != grant.pool);
            // Where two can be had again is for the order of pools to say.
            let alone = self.lowest(*at, other(family), &request.claim).is_none();
            (asked && alone).then_some(grant)
        };
        remaining(first).or_else(|| remaining(other(first))).unwrap_or(found)
    }

    /// What a Service waits for that has been decided so.
    fn spot(&mut self, request: &Request, outcome: &Outcome) -> Option<Spot> {
        let only = |this: &Self, pool| this.by_name.get(pool).map(|at| Arc::new(Roster::only(*at)));
        match (outcome, &request.wish) {
            // Addresses that no pool gives to it and the impossible do not become free.
            (
                Outcome::Refused(Refusal::SharingKey { .. } | Refusal::PortTaken { .. }),
                Wish::Addresses { addresses, pool },
            ) => {
                let agrees = |pool| addresses.iter().all(|address| self.pool_of(address) == Some(pool));
                pool.as_ref().is_none_or(agrees).then_some(Spot::Exactly(*addresses))
            }
            (Outcome::Refused(Refusal::NoneAvailable(_)), _) => {
                Some(Spot::Any(request.families, self.rosters.get(&request.eligible, &self.by_name)))
            }
            (Outcome::Refused(Refusal::PoolExhausted(pool, _)), _) => {
                Some(Spot::Any(request.families, only(self, pool)?))
            }
            (Outcome::Refused(_) | Outcome::KeptDespite { .. }, _) | (_, Wish::Addresses { .. }) => None,
            // A second family may become free.
            _ => {
                let grant = outcome.grant().filter(|_| request.families.may_be_two())?;
                let missing = missing(grant.addresses)?;
                Some(Spot::Any(Families::One(missing), only(self, &grant.pool)?))
            }
        }
    }

    /// In MetalLB's order: families, configuration and sharing, pool, addresses.
    fn judge(&self, key: &ServiceKey, held: VipSet, request: &Request) -> Standing {
        let kept = match request.families {
            Families::One(Family::V4) => VipSet { v6: None, ..held },
            Families::One(Family::V6) => VipSet { v4: None, ..held },
            Families::Both | Families::Prefer { .. } => held,
        };
        if kept.is_empty() {
            return Standing::Unwanted;
        }
        let grant = match self.may_keep(key, kept, request) {
            Ok(grant) => grant,
            Err(refusal) => return Standing::Forbidden(refusal),
        };
        match &request.wish {
            Wish::Pool(pool) | Wish::Addresses { pool: Some(pool), .. } if *pool != grant.pool => {
                Standing::Unwanted
            }
            Wish::Addresses { addresses, .. } if *addresses != kept => Standing::Unwanted,
            // One requested address is not what RequireDualStack needs. PreferDualStack can
            // live with it, and who turns to it keeps the address that was asked for.
            Wish::Addresses { addresses, .. }
                if request.families == Families::Both && !suits(*addresses, request.families) =>
            {
                Standing::Unwanted
            }
            _ => Standing::Keep(grant),
        }
    }

    /// Goes on with what a Service has, and adds the family that it lacks.
    /// `None` if it needs one that its pool cannot add, so that it must move.
    fn keep(&mut self, key: &ServiceKey, mut grant: Grant, request: &Request) -> Option<Outcome> {
        self.hold(key, grant.addresses, &request.claim);
        if let Wish::Unreadable(why) = &request.wish {
            return Some(Outcome::KeptDespite { grant, why: why.clone() });
        }
        if matches!(request.wish, Wish::Addresses { .. }) {
            // Exactly these were asked for: none is added.
            return Some(Outcome::Kept(grant));
        }
        let Some(missing) = missing(grant.addresses).filter(|_| request.families.may_be_two()) else {
            return Some(Outcome::Kept(grant));
        };
        let pool = self.by_name.get(&grant.pool).copied();
        match pool.and_then(|pool| self.lowest(pool, missing, &request.claim)) {
            Some(added) => {
                with(&mut grant.addresses, added);
                self.hold(key, grant.addresses, &request.claim);
                Some(Outcome::Extended { grant, added })
            }
            None if request.families == Families::Both => None,
            None => {
                let lack = self.lack(pool, Families::One(missing));
                let why = Refusal::PoolExhausted(grant.pool.clone(), lack);
                Some(Outcome::KeptSingle { grant, why })
            }
        }
    }

    /// Whether the Service may go on with what it has, be it of a pool that is set aside.
    fn may_keep(&self, key: &ServiceKey, held: VipSet, request: &Request) -> Result<Grant, Refusal> {
        let aside = |address: IpAddr| {
            if self.pool_of(address).is_some() { None } else { request.set_aside.get(&address) }
        };
        let Some(pool) = held.iter().find_map(aside) else { return self.may_have(key, held, request) };
        if held.iter().any(|address| self.pool_of(address).is_none() && aside(address).is_none()) {
            return Err(self.not_allowed(held));
        }
        for address in held.iter() {
            self.may_hold(key, address, &request.claim)?;
        }
        Ok(Grant { addresses: held, pool: pool.clone() })
    }

    /// Whether the Service may have exactly these addresses.
    fn may_have(&self, key: &ServiceKey, addresses: VipSet, request: &Request) -> Result<Grant, Refusal> {
        let mut pools = addresses.iter().map(|address| self.pool_of(address));
        let pool = match (pools.next().flatten(), pools.next()) {
            (Some(pool), None) => pool,
            (Some(pool), Some(other)) if other == Some(pool) => pool,
            _ => return Err(self.not_allowed(addresses)),
        };
        if !request.eligible.compatible.contains(pool) {
            return Err(Refusal::NotCompatible(pool.clone()));
        }
        for address in addresses.iter() {
            self.may_hold(key, address, &request.claim)?;
        }
        Ok(Grant { addresses, pool: pool.clone() })
    }

    /// Why addresses are not to be had that are not of one pool.
    fn not_allowed(&self, addresses: VipSet) -> Refusal {
        let barred = |address: IpAddr| {
            let bars = |pool: &Pool| pool.bars(address).map(|by| (pool.spec.name.clone(), by));
            let (pool, by) = self.pools.iter().find_map(bars)?;
            Some(Unfit::Barred { address, pool, by })
        };
        let why = addresses.iter().filter(|a| self.pool_of(*a).is_none()).find_map(barred);
        let all_known = addresses.iter().all(|address| self.pool_of(address).is_some());
        let why = why.unwrap_or(if all_known { Unfit::TwoPools } else { Unfit::Unknown });
        Refusal::NotAllowed(addresses, why)
    }

    /// Looks for addresses for a Service that holds none.
    fn find(&mut self, key: &ServiceKey, request: &Request) -> Result<Grant, Refusal> {
        let families = request.families;
        match &request.wish {
            Wish::Unreadable(error) => Err(Refusal::Wish(error.clone())),
            Wish::Addresses { addresses, pool } => {
                if !suits(*addresses, families) {
                    return Err(Refusal::FamilyMismatch(*addresses));
                }
                let grant = self.may_have(key, *addresses, request)?;
                match pool {
                    Some(pool) if *pool != grant.pool => Err(Refusal::PoolMismatch(*addresses, pool.clone())),
                    _ => Ok(grant),
                }
            }
            Wish::Pool(pool) => {
                let Some(at) = self.by_name.get(pool).copied() else {
                    return Err(Refusal::UnknownPool(pool.clone()));
                };
                if !request.eligible.compatible.contains(pool) {
                    return Err(Refusal::NotCompatible(pool.clone()));
                }
                self.first_of(&Roster::only(at), families, &request.claim)
                    .ok_or_else(|| Refusal::PoolExhausted(pool.clone(), self.lack([at], families)))
            }
            Wish::Any => {
                let roster = self.rosters.get(&request.eligible, &self.by_name);
                self.first_of(&roster, families, &request.claim)
                    .ok_or_else(|| Refusal::NoneAvailable(self.lack(roster.pools(), families)))
            }
        }
    }

    /// What pools lack that have nothing free.
    fn lack(&self, pools: impl IntoIterator<Item = usize>, families: Families) -> Lack {
        let mut pools = pools.into_iter().map(|at| &self.pools[at]).peekable();
        if pools.peek().is_none() {
            return if self.pools.is_empty() { Lack::Pools } else { Lack::PoolsForIt };
        }
        let enough = |pool: &Pool| match families {
            Families::One(family) => pool.has(family),
            Families::Both => pool.has(Family::V4) && pool.has(Family::V6),
            Families::Prefer { .. } => pool.has(Family::V4) || pool.has(Family::V6),
        };
        if pools.any(enough) { Lack::Addresses } else { Lack::Families(families) }
    }

    /// The first pool that has all the families; where less is enough, the first
    /// that has one of them. Pools that are meant for Services like it come before the
    /// others, whatever they have. A Service never has addresses of two pools.
    pub(crate) fn first_of(&self, roster: &Roster, families: Families, claim: &Claim) -> Option<Grant> {
        self.first_of_tier(&roster.pinned, families, claim)
            .or_else(|| self.first_of_tier(&roster.common, families, claim))
    }

    fn first_of_tier(&self, pools: &[usize], families: Families, claim: &Claim) -> Option<Grant> {
        let pick = |wanted: &[Family]| pools.iter().find_map(|pool| self.pick(*pool, wanted, claim));
        match families {
            Families::One(family) => pick(&[family]),
            Families::Both => pick(&[Family::V4, Family::V6]),
            Families::Prefer { first } => {
                pick(&[Family::V4, Family::V6]).or_else(|| pick(&[first])).or_else(|| pick(&[other(first)]))
            }
        }
    }

    fn pick(&self, pool: usize, wanted: &[Family], claim: &Claim) -> Option<Grant> {
        let mut addresses = VipSet::default();
        for family in wanted {
            with(&mut addresses, self.lowest(pool, *family, claim)?);
        }
        Some(Grant { addresses, pool: self.pools[pool].spec.name.clone() })
    }
}

fn with(set: &mut VipSet, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => set.v4 = Some(v4),
        IpAddr::V6(v6) => set.v6 = Some(v6),
    }
}

fn single(address: IpAddr) -> VipSet {
    let mut set = VipSet::default();
    with(&mut set, address);
    set
}

fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

/// The family that is missing beside the other.
fn missing(addresses: VipSet) -> Option<Family> {
    match (addresses.v4, addresses.v6) {
        (Some(_), None) => Some(Family::V6),
        (None, Some(_)) => Some(Family::V4),
        _ => None,
    }
}

/// Requested addresses must be of exactly the families of the ClusterIPs (§2.3 rule 2).
fn suits(addresses: VipSet, families: Families) -> bool {
    let (v4, v6) = (addresses.v4.is_some(), addresses.v6.is_some());
    match families {
        Families::One(Family::V4) => v4 && !v6,
        Families::One(Family::V6) => v6 && !v4,
        Families::Both | Families::Prefer { .. } => v4 && v6,
    }
}
