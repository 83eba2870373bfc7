//! Who waits for what, so that a freed address wakes whoever can use it and nobody else.
//!
//! Ten thousand Services may wait when one address becomes free: one of them is woken, the
//! oldest that can use it, at a cost that does not follow their number. What could help
//! somebody is noted as a [`Stir`] while it happens; [`Allocator::take_woken`] looks for
//! those it helps. Whoever is woken is tried for real by the next
//! [`Allocator::decide`], and then the same place is looked at again: more than one may fit,
//! or the one woken got something else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, ServiceKey, VipSet};

use crate::allocator::Allocator;
use crate::request::{Claim, Families};
use crate::roster::Roster;

/// Something has happened that may help those who wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stir {
    /// An address of this pool and family is free.
    Freed(usize, Family),
    /// An address is held under this sharing key by others, or by fewer, than before.
    Shared(String),
    /// This address is held by others, or on other terms, than before.
    Address(IpAddr),
}

/// What a Service waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Any address of these families in these pools.
    Any(Families, Arc<Roster>),
    /// Exactly these addresses, which others hold.
    Exactly(VipSet),
}

/// Those who wait for the same: if one that shares with nobody cannot be helped, none can.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Queue {
    families: Families,
    shares: bool,
    roster: Arc<Roster>,
}

/// The order of waiting: older Services first.
type Turn = (i64, Arc<ServiceKey>);

/// In turn.
type Line = BTreeSet<Turn>;

#[derive(Debug, Clone)]
struct Waiter {
    turn: Turn,
    spot: Spot,
    claim: Arc<Claim>,
}

/// All who wait, by what they wait for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    waiters: HashMap<Arc<ServiceKey>, Waiter>,
    queues: BTreeMap<Queue, Line>,
    /// Pool → queues for it.
    by_pool: HashMap<usize, BTreeSet<Queue>>,
    /// Sharing key → those who would get the same by it.
    by_sharing: HashMap<String, BTreeMap<(Queue, Arc<Claim>), Line>>,
    by_address: HashMap<IpAddr, Line>,
    /// What has not been looked at, and how often it happened.
    stirs: BTreeMap<Stir, usize>,
    /// Those who have been woken and not been decided on, and by what.
    woken: HashMap<Arc<ServiceKey>, Stir>,
}

impl Allocator {
    /// Services that something has happened for since the last call: each can probably get
    /// what it waits for and has to be decided on again. Every one of them is told once.
    pub fn take_woken(&mut self) -> Vec<ServiceKey> {
        let mut woken = Vec::new();
        while let Some((stir, times)) = self.waiting.stirs.pop_first() {
            // An address may be shared by many, but one must be there to be shared.
            let times = if matches!(stir, Stir::Freed(..)) { times } else { 1 };
            for _ in 0..times {
                let Some(turn) = self.next_for(&stir) else { break };
                self.waiting.leave(&turn.1);
                woken.push(turn.1.as_ref().clone());
                self.waiting.woken.insert(turn.1, stir.clone());
            }
        }
        woken
    }

    /// The oldest who can use it.
    fn next_for(&self, stir: &Stir) -> Option<Turn> {
        let waiting = &self.waiting;
        let able = |turn: &&Turn| self.able(turn);
        match stir {
            Stir::Freed(pool, family) => {
                let queues = waiting.by_pool.get(pool)?.iter().filter(|queue| queue.families.want(*family));
                let first = |queue: &Queue| {
                    let line = waiting.queues.get(queue)?;
                    if queue.shares { line.iter().find(able) } else { line.first().filter(able) }
                };
                queues.filter_map(first).min().cloned()
            }
            Stir::Shared(key) => {
                let lines = waiting.by_sharing.get(key)?.values();
                lines.filter_map(|line| line.first().filter(able)).min().cloned()
            }
            Stir::Address(address) => waiting.by_address.get(address)?.iter().find(able).cloned(),
        }
    }

    /// Whether a decision would help now.
    fn able(&self, (_, key): &Turn) -> bool {
        let Some(waiter) = self.waiting.waiters.get(key) else { return false };
        match &waiter.spot {
            Spot::Any(families, roster) => self.first_of(roster, *families, &waiter.claim).is_some(),
            Spot::Exactly(addresses) => {
                addresses.iter().all(|address| self.objection(key, address, &waiter.claim).is_none())
            }
        }
    }
}

impl Waiting {
    /// The pools have changed: everybody is decided on anyway.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes something, if anybody can be concerned.
    pub(crate) fn stir(&mut self, stir: Stir) {
        let matters = match &stir {
            Stir::Freed(pool, _) => self.by_pool.contains_key(pool),
            Stir::Shared(key) => self.by_sharing.contains_key(key),
            Stir::Address(address) => self.by_address.contains_key(address),
        };
        // Whoever is about to be tried may be concerned afterwards, if it still waits then;
        // but then what happened now has been seen by that.
        if matters {
            *self.stirs.entry(stir).or_default() += 1;
        }
    }

    /// The Service has been decided on: this is what it waits for from now on, if anything.
    pub(crate) fn decided(
        &mut self,
        key: &ServiceKey,
        created_s: i64,
        claim: &Arc<Claim>,
        spot: Option<Spot>,
    ) {
        let same = |waiter: &Waiter| {
            spot.as_ref() == Some(&waiter.spot) && waiter.claim == *claim && waiter.turn.0 == created_s
        };
        if !self.waiters.get(key).is_some_and(same) {
            self.leave(key);
            if let Some(spot) = spot {
                self.join(Waiter {
                    turn: (created_s, Arc::new(key.clone())),
                    spot,
                    claim: Arc::clone(claim),
                });
            }
        }
        self.look_again(key);
    }

    /// The Service is gone.
    pub(crate) fn gone(&mut self, key: &ServiceKey) {
        self.leave(key);
        self.look_again(key);
    }

    /// What it was woken for may be there for others still.
    fn look_again(&mut self, key: &ServiceKey) {
        if let Some(stir) = self.woken.remove(key) {
            self.stir(stir);
        }
    }

    fn join(&mut self, waiter: Waiter) {
        match &waiter.spot {
            Spot::Any(..) => {
                let Some(queue) = waiter.queue() else { return };
                let line = self.queues.entry(queue.clone()).or_insert_with(|| {
                    for pool in queue.roster.pools() {
                        self.by_pool.entry(pool).or_default().insert(queue.clone());
                    }
                    Line::new()
                });
                line.insert(waiter.turn.clone());
                if queue.shares {
                    let group = self.by_sharing.entry(waiter.claim.sharing.clone()).or_default();
                    let alike = (queue, Arc::clone(&waiter.claim));
                    group.entry(alike).or_default().insert(waiter.turn.clone());
                }
            }
            Spot::Exactly(addresses) => {
                for address in addresses.iter() {
                    self.by_address.entry(address).or_default().insert(waiter.turn.clone());
                }
            }
        }
        self.waiters.insert(Arc::clone(&waiter.turn.1), waiter);
    }

    fn leave(&mut self, key: &ServiceKey) {
        let Some(waiter) = self.waiters.remove(key) else { return };
        let turn = &waiter.turn;
        if let Spot::Exactly(addresses) = &waiter.spot {
            for address in addresses.iter() {
                if emptied(self.by_address.get_mut(&address), turn) {
                    self.by_address.remove(&address);
                }
            }
        }
        let Some(queue) = waiter.queue() else { return };
        if queue.shares
            && let Some(group) = self.by_sharing.get_mut(&waiter.claim.sharing)
        {
            let alike = (queue.clone(), Arc::clone(&waiter.claim));
            if emptied(group.get_mut(&alike), turn) {
                group.remove(&alike);
            }
            if group.is_empty() {
                self.by_sharing.remove(&waiter.claim.sharing);
            }
        }
        if emptied(self.queues.get_mut(&queue), turn) {
            self.queues.remove(&queue);
            for pool in queue.roster.pools() {
                if let Some(queues) = self.by_pool.get_mut(&pool) {
                    queues.remove(&queue);
                    if queues.is_empty() {
                        self.by_pool.remove(&pool);
                    }
                }
            }
        }
    }
}

impl Waiter {
    fn queue(&self) -> Option<Queue> {
        let Spot::Any(families, roster) = &self.spot else { return None };
        let shares = !self.claim.sharing.is_empty();
        Some(Queue { families: *families, shares, roster: Arc::clone(roster) })
    }
}

/// Takes one out of a line. True if that is empty then.
fn emptied(line: Option<&mut Line>, turn: &Turn) -> bool {
    line.is_some_and(|line| {
        line.remove(turn);
        line.is_empty()
    })
}
