//! The rules: what a Service keeps, gets or is refused (contract §2.3, §2.6, §2.7).

use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, PoolName, ServiceKey, VipSet};

use crate::allocator::Allocator;
use crate::decision::{Cleared, Decision, Grant, Outcome, Refusal};
use crate::request::{Families, Request, Wish};

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
    /// allowed and asked for, else something new. Asking again changes nothing.
    pub fn decide(&mut self, key: &ServiceKey, request: &Request) -> Decision {
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
            self.release(key);
        }
        let outcome = match self.find(key, request) {
            Ok(grant) => {
                self.hold(key, grant.addresses, &request.claim);
                Outcome::Assigned(grant)
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        Decision { cleared, outcome }
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
        let missing = match (request.families, grant.addresses) {
            (Families::One(_), _) | (_, VipSet { v4: Some(_), v6: Some(_) }) => {
                return Some(Outcome::Kept(grant));
            }
            (_, VipSet { v4: None, .. }) => Family::V4,
            (_, VipSet { v6: None, .. }) => Family::V6,
        };
        let pool = self.by_name.get(&grant.pool).copied();
        match pool.and_then(|pool| self.lowest(pool, missing, key, &request.claim)) {
            Some(added) => {
                with(&mut grant.addresses, added);
                self.hold(key, grant.addresses, &request.claim);
                Some(Outcome::Extended { grant, added })
            }
            None if request.families == Families::Both => None,
            None => {
                let why = Refusal::PoolExhausted(grant.pool.clone());
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
            return Err(Refusal::NotAllowed(held));
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
            _ => return Err(Refusal::NotAllowed(addresses)),
        };
        if !request.eligible.compatible.contains(pool) {
            return Err(Refusal::NotCompatible(pool.clone()));
        }
        for address in addresses.iter() {
            self.may_hold(key, address, &request.claim)?;
        }
        Ok(Grant { addresses, pool: pool.clone() })
    }

    /// Looks for addresses for a Service that holds none.
    fn find(&self, key: &ServiceKey, request: &Request) -> Result<Grant, Refusal> {
        match &request.wish {
            Wish::Unreadable(error) => Err(Refusal::Wish(error.clone())),
            Wish::Addresses { addresses, pool } => {
                if !suits(*addresses, request.families) {
                    return Err(Refusal::FamilyMismatch(*addresses));
                }
                let grant = self.may_have(key, *addresses, request)?;
                match pool {
                    Some(pool) if *pool != grant.pool => Err(Refusal::PoolMismatch(*addresses, pool.clone())),
                    _ => Ok(grant),
                }
            }
            Wish::Pool(pool) => {
                if !self.by_name.contains_key(pool) {
                    return Err(Refusal::UnknownPool(pool.clone()));
                }
                if !request.eligible.compatible.contains(pool) {
                    return Err(Refusal::NotCompatible(pool.clone()));
                }
                let only = std::slice::from_ref(pool);
                self.first_of(only, key, request).ok_or_else(|| Refusal::PoolExhausted(pool.clone()))
            }
            Wish::Any => {
                self.first_of(&request.eligible.automatic, key, request).ok_or(Refusal::NoneAvailable)
            }
        }
    }

    /// The first pool that has all the families; where less is enough, the first
    /// that has one of them. A Service never has addresses of two pools.
    fn first_of(&self, pools: &[PoolName], key: &ServiceKey, request: &Request) -> Option<Grant> {
        let pick = |wanted: &[Family]| pools.iter().find_map(|pool| self.pick(pool, wanted, key, request));
        match request.families {
            Families::One(family) => pick(&[family]),
            Families::Both => pick(&[Family::V4, Family::V6]),
            Families::Prefer { first } => {
                let second = if first == Family::V4 { Family::V6 } else { Family::V4 };
                pick(&[Family::V4, Family::V6]).or_else(|| pick(&[first])).or_else(|| pick(&[second]))
            }
        }
    }

    fn pick(&self, pool: &PoolName, wanted: &[Family], key: &ServiceKey, request: &Request) -> Option<Grant> {
        let at = *self.by_name.get(pool)?;
        let claim = Arc::as_ref(&request.claim);
        let mut addresses = VipSet::default();
        for family in wanted {
            with(&mut addresses, self.lowest(at, *family, key, claim)?);
        }
        Some(Grant { addresses, pool: pool.clone() })
    }
}

fn with(set: &mut VipSet, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => set.v4 = Some(v4),
        IpAddr::V6(v6) => set.v6 = Some(v6),
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
