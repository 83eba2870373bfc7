//! Has an address lost its owner without anybody to say so? The voters of a dead owner may have
//! died with it, or have restarted since and forgotten what it owned; the node that was to take it
//! first may never have been there. Owners claim each second; what nobody has claimed for two
//! rounds the first fit node of its list takes, and where none of the list lives, any node that
//! may own it, each in a turn of its own. No controller is needed.
//!
//! Who takes it has sought the owner first: it asks all nodes, and more than half of them must say
//! that they have heard as little (of a partition's sides, one at most), none that the owner lives
//! (a cut between two nodes is no orphan). Then the segment is asked as by one who knows nothing,
//! so that an owner that merely was not heard keeps the address. Claims end what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_fence::{ABLE, Key, NodeId, tag_bytes};

use super::claims::{HEARD, round};
use super::message::{Body, Item, MAX_ITEMS};
use super::taker::THOROUGH;
use super::timing::{BEAT_LIMIT, CLAIM_EVERY, MS, ORPHAN_LAG, ORPHAN_LOOK, ORPHAN_TURNS};
use super::{Machine, Turn};

/// Addresses that are sought at a time, since each makes frames on the segment.
const AT_ONCE: usize = 512;

/// Who was heard last when.
#[derive(Debug, Clone, Default)]
pub(super) struct Orphans {
    /// When each address was last claimed by its owner, or first planned.
    claimed: BTreeMap<IpAddr, u64>,
    /// Addresses whose owner is sought, and who has not heard it either.
    sought: BTreeMap<IpAddr, BTreeSet<NodeId>>,
    /// Addresses that were sought in vain, and when.
    assured: BTreeMap<IpAddr, u64>,
    look_at: u64,
}

impl Orphans {
    /// The address was claimed by its owner.
    pub(super) fn claimed(&mut self, address: IpAddr, now: u64) {
        self.claimed.insert(address, now);
        self.sought.remove(&address);
    }

    /// Somebody knows of an owner that lives. That is not told on as if it had been heard here:
    /// two nodes would assure each other of it for ever.
    pub(super) fn assured(&mut self, address: IpAddr, now: u64) {
        if self.sought.remove(&address).is_some() {
            self.assured.insert(address, now);
        }
    }

    fn silent(&self, address: IpAddr, now: u64) -> u64 {
        self.claimed.get(&address).map_or(0, |at| now.saturating_sub(*at))
    }
}

/// A number that is another for each pair, and the same everywhere.
pub(super) fn lot(address: IpAddr, node: NodeId) -> u64 {
    let text = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    tag_bytes(&Key { id: 1, k0: node.0, k1: 0x6f72_7068_616e }, &text.octets())
}

impl Machine {
    /// Whether this node may own the address, by its list or by what it knows itself.
    pub(super) fn may_own(&self, address: IpAddr) -> bool {
        self.plan.list(address).contains(&self.me) || self.fit_for(address)
    }

    fn fit_for(&self, address: IpAddr) -> bool {
        self.plan.places.contains_key(&address) && !self.plan.barred.contains(&address)
    }

    /// The plan's addresses; one that is new has time to be claimed.
    pub(super) fn plan_orphans(&mut self, now: u64) {
        let plan = &self.plan;
        self.orphans.sought.retain(|address, _| plan.places.contains_key(address));
        self.orphans.assured.retain(|address, _| plan.places.contains_key(address));
        self.orphans.claimed.retain(|address, _| plan.places.contains_key(address));
        for address in plan.places.keys() {
            self.orphans.claimed.entry(*address).or_insert(now);
        }
    }

    /// How long nothing is heard of an owner that lives but once in 400 times.
    fn patience(&self) -> u64 {
        HEARD * round(self.plan.nodes.len())
    }

    /// Nodes of the lists of addresses that have not been claimed for some time: they are
    /// probed, so that it is known whether one of them lives.
    pub(super) fn bereaved(&self, now: u64) -> BTreeSet<NodeId> {
        if self.timing.orphan.is_none() {
            return BTreeSet::new();
        }
        let soon = self.patience() / 4 * 3;
        let silent = self.orphans.claimed.iter().filter(|(_, at)| now.saturating_sub(**at) > soon);
        let open = silent.map(|(address, _)| *address).filter(|address| !self.held.contains_key(address));
        let lists = open.take(AT_ONCE).flat_map(|address| self.plan.list(address).iter().copied());
        lists.filter(|node| *node != self.me && !self.pairs.contains(node)).collect()
    }

    pub(super) fn step_orphans(&mut self, turn: &mut Turn<'_>) {
        let Some(pause) = self.timing.orphan else { return };
        if turn.now >= self.orphans.look_at {
            self.orphans.look_at = turn.now.saturating_add(ORPHAN_LOOK);
            // Whoever gets them from us has as long to say so.
            self.orphans.claimed.extend(self.held.keys().map(|address| (*address, turn.now)));
            let fit = self.own.flags & ABLE != 0 && self.ok(turn);
            let due = if fit { self.orphaned(pause, turn) } else { Vec::new() };
            // Answers to the last question count no more.
            self.orphans.sought = due.iter().map(|address| (*address, BTreeSet::new())).collect();
            let item = |a: &IpAddr| Item { address: *a, epoch: self.records.epoch(*a) };
            let items: Vec<_> = due.iter().map(item).collect();
            for chunk in items.chunks(MAX_ITEMS) {
                for node in self.everybody() {
                    self.send(node, &Body::Seek { items: chunk.to_vec() }, turn);
                }
            }
            due.into_iter().for_each(|address| self.count_silent(address, turn));
        }
        self.wake(self.orphans.look_at);
    }

    /// Another node seeks the owners of these.
    pub(super) fn sought(&mut self, from: NodeId, items: &[Item], turn: &mut Turn<'_>) {
        let mut silent = Vec::new();
        for item in items.iter().copied() {
            if !self.plan.places.contains_key(&item.address) {
                continue;
            }
            let record = self.records.get(item.address);
            let held = self.held.contains_key(&item.address);
            let since = self.orphans.silent(item.address, turn.now);
            // Whom we are in contact with may have been unlucky with its claims.
            let near = record.is_some_and(|record| {
                let peer = self.fresh(record.node, turn);
                peer.is_some_and(|peer| peer.inc == record.inc) && record.node != self.me
            });
            let patience = self.patience();
            let lives = held && self.ok(turn) || since < if near { 2 * patience } else { patience / 4 * 3 };
            match record.filter(|_| lives) {
                Some(record) => self.tell(from, item.address, record, turn),
                None if held || lives => {}
                None => silent.push(item),
            }
        }
        if !silent.is_empty() {
            self.send(from, &Body::Silent { items: silent }, turn);
        }
    }

    /// Another node has not heard the owners of these either.
    pub(super) fn silent_too(&mut self, from: NodeId, items: &[Item], turn: &mut Turn<'_>) {
        if !self.plan.nodes.contains(&from) {
            return;
        }
        for Item { address, .. } in items {
            if let Some(silent) = self.orphans.sought.get_mut(address) {
                silent.insert(from);
                self.count_silent(*address, turn);
            }
        }
    }

    /// Takes the address when enough have heard nothing of an owner. Of two nodes nobody can be more
    /// than half, and who stands alone is not: those prove their segment instead.
    fn count_silent(&mut self, address: IpAddr, turn: &mut Turn<'_>) {
        let Some(silent) = self.orphans.sought.get(&address) else { return };
        let most = if self.needs_segment() { self.fence.contacts().len() } else { self.plan.nodes.len() / 2 };
        if silent.len() < most {
            return;
        }
        // Who comes next has its turn when this comes to nothing.
        self.orphans.claimed(address, turn.now);
        let planned = self.plan.places.get(&address).map_or(0, |place| place.epoch);
        let epoch = self.records.epoch(address).saturating_add(1).max(planned);
        self.try_take(address, epoch, THOROUGH, turn);
    }

    fn orphaned(&self, pause: u64, turn: &Turn<'_>) -> Vec<IpAddr> {
        let patience = self.patience().saturating_add(pause);
        let silent =
            self.orphans.claimed.iter().map(|(address, at)| (*address, turn.now.saturating_sub(*at)));
        let due = silent.filter(|(address, silent)| {
            let busy = self.held.contains_key(address)
                || self.jobs.contains_key(address)
                || self.takes.contains_key(address);
            let assured = self.orphans.assured.get(address);
            let again = assured.is_none_or(|at| turn.now.saturating_sub(*at) >= CLAIM_EVERY);
            *silent > patience && !busy && again && self.my_turn(*address, *silent - patience, turn)
        });
        due.map(|(address, _)| address).take(AT_ONCE).collect()
    }

    /// Whether an address that is nobody's since so long is this node's to take.
    fn my_turn(&self, address: IpAddr, since: u64, turn: &Turn<'_>) -> bool {
        let list = self.plan.list(address);
        match list.iter().find(|node| self.fit(**node, BEAT_LIMIT, turn)) {
            Some(first) => *first == self.me,
            None if list.is_empty() || !self.fit_for(address) => false,
            // Who else may own it is not known here: one after the other, whoever claims
            // it first ends the others' wait.
            None => {
                let turns = ORPHAN_TURNS.min(20 * MS * self.plan.nodes.len() as u64).max(1);
                since > ORPHAN_LAG.saturating_add(lot(address, self.me) % turns)
            }
        }
    }
}
