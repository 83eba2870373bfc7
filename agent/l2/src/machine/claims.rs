//! Who hears what this node owns, and who is right?
//!
//! An owner claims what it took at once and twice more, everything whenever
//! contact, its fence or its agent comes back, and everything each second. Of two
//! owners the one with the greater (epoch, node) stays; who knows a greater
//! record than the one it hears answers with it. That ends every overlap that
//! the fence did not prevent as soon as two frames pass.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use clarion_fence::NodeId;

use super::event::Event;
use super::message::{Body, Item, MAX_ITEMS};
use super::record::Record;
use super::timing::{CLAIM_EVERY, CONTACT_ROUNDS, MS, TAKEN_ROUNDS};
use super::{Machine, Turn};

/// Datagrams of claims sent within a millisecond, at most.
const PACE: usize = 256;
/// Datagrams that may wait; beyond that a round is left out, and the next second's
/// says the same.
const WAITING: usize = 65_536;
/// Nodes that the round of each second goes to, beside the peers, in turn.
const SLICE: usize = 64;
/// Rounds after which nothing that is claimed is unknown: both are lost once in 400
/// times at 5 % loss, and then there is still the question to the segment.
pub(super) const HEARD: u64 = 2;

/// When what is claimed, and what waits to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// Rounds about everything.
    all: BTreeSet<u64>,
    /// Rounds about what was just taken.
    taken: BTreeMap<u64, BTreeSet<IpAddr>>,
    /// The next regular round.
    regular: u64,
    /// The node after which the next regular round goes on.
    cursor: Option<NodeId>,
    /// Datagrams to send: to whom, about what.
    queue: VecDeque<(NodeId, Vec<IpAddr>)>,
    /// Since when no claim can have been missed.
    since: u64,
}

/// How long it takes until every node of a cluster of so many has been claimed to.
pub(super) const fn round(nodes: usize) -> u64 {
    CLAIM_EVERY * nodes.div_ceil(SLICE) as u64 + CLAIM_EVERY / 8
}

impl Claims {
    /// Contact, the fence or the agent came back at `now`. What was claimed meanwhile was
    /// missed.
    pub(super) fn contact(&mut self, now: u64) {
        self.all = CONTACT_ROUNDS.map(|after| now.saturating_add(after)).into();
        self.missed(now);
    }

    /// What was claimed until `now` may be unknown.
    pub(super) fn missed(&mut self, now: u64) {
        self.since = self.since.max(now);
    }

    /// Whether whatever a node in reach owns has been heard of.
    pub(super) fn complete(&self, nodes: usize, now: u64) -> bool {
        now.saturating_sub(self.since) > HEARD * round(nodes)
    }

    /// An address was taken.
    pub(super) fn taken(&mut self, now: u64, address: IpAddr) {
        for after in TAKEN_ROUNDS {
            self.taken.entry(now.saturating_add(after)).or_default().insert(address);
        }
    }

    fn next(&self, now: u64) -> u64 {
        let rounds = self.all.first().into_iter().chain(self.taken.keys().next()).copied();
        let next = rounds.fold(self.regular, u64::min);
        if self.queue.is_empty() { next } else { next.min(now.saturating_add(MS)) }
    }
}

impl Machine {
    pub(super) fn step_claims(&mut self, turn: &mut Turn<'_>) {
        while let Some(round) = self.claims.taken.first_entry().filter(|round| *round.key() <= turn.now) {
            let addresses = round.remove().into_iter().collect::<Vec<_>>();
            self.enqueue(&self.everybody(), &addresses);
        }
        let due = self.claims.all.first().is_some_and(|at| *at <= turn.now);
        let regular = self.claims.regular <= turn.now;
        if due || regular {
            self.claims.all.retain(|at| *at > turn.now);
            let held: Vec<_> = self.held.keys().copied().collect();
            let to = if due { self.everybody() } else { self.slice() };
            self.enqueue(&to, &held);
        }
        if regular {
            self.claims.regular = turn.now.saturating_add(CLAIM_EVERY);
        }
        for _ in 0..PACE {
            let Some((to, addresses)) = self.claims.queue.pop_front() else { break };
            self.send_claim(to, &addresses, turn);
        }
        self.wake(self.claims.next(turn.now));
    }

    /// All nodes with an agent; without a plan, the peers that the kernel knows.
    pub(super) fn everybody(&self) -> Vec<NodeId> {
        let nodes = if self.plan.nodes.is_empty() { &self.pairs } else { &self.plan.nodes };
        nodes.iter().copied().filter(|node| *node != self.me).collect()
    }

    /// The peers, who must know what we own when we die, and some of the others.
    fn slice(&mut self) -> Vec<NodeId> {
        let all = self.everybody();
        if all.len() <= SLICE {
            return all;
        }
        let after = self.claims.cursor;
        let start = all.iter().position(|node| Some(*node) > after).unwrap_or(0);
        let turn: Vec<_> = all.iter().cycle().skip(start).take(SLICE).copied().collect();
        self.claims.cursor = turn.last().copied();
        let rest = turn.into_iter().filter(|node| !self.pairs.contains(node));
        self.pairs.iter().copied().chain(rest).collect()
    }

    fn enqueue(&mut self, to: &[NodeId], addresses: &[IpAddr]) {
        let datagrams = addresses.len().div_ceil(MAX_ITEMS).saturating_mul(to.len());
        if self.claims.queue.len().saturating_add(datagrams) > WAITING {
            return;
        }
        for chunk in addresses.chunks(MAX_ITEMS) {
            self.claims.queue.extend(to.iter().map(|node| (*node, chunk.to_vec())));
        }
    }

    /// Claims what of these is still ours.
    fn send_claim(&mut self, to: NodeId, addresses: &[IpAddr], turn: &mut Turn<'_>) {
        let entries = addresses.iter().filter_map(|address| Some((*address, self.held.get(address)?)));
        let items: Vec<_> = entries.map(|(address, entry)| Item { address, epoch: entry.epoch }).collect();
        if !items.is_empty() {
            self.send(to, &Body::Claim { node: self.me, inc: self.own.inc, items }, turn);
        }
    }

    /// Tells a node of one record.
    pub(super) fn tell(&mut self, to: NodeId, address: IpAddr, record: Record, turn: &mut Turn<'_>) {
        if to != self.me {
            let items = vec![Item { address, epoch: record.epoch }];
            self.send(to, &Body::Claim { node: record.node, inc: record.inc, items }, turn);
        }
    }

    pub(super) fn claimed(
        &mut self,
        from: NodeId,
        node: NodeId,
        inc: u64,
        items: &[Item],
        turn: &mut Turn<'_>,
    ) {
        let mut newer: BTreeMap<(NodeId, u64), Vec<Item>> = BTreeMap::new();
        for Item { address, epoch } in items.iter().copied() {
            let record = Record { epoch, node, inc };
            if from == node && self.plan.places.contains_key(&address) {
                self.orphans.claimed(address, turn.now);
            }
            self.orphans.assured(address, turn.now);
            if !self.plan.places.is_empty() && !self.plan.places.contains_key(&address) {
                // Not an address of ours, or of a plan that is still to come.
                if !self.records.early(address, record, turn.now) {
                    self.claims.missed(turn.now);
                }
                continue;
            }
            if let Some(better) = self.compare(address, record, turn) {
                let item = Item { address, epoch: better.epoch };
                newer.entry((better.node, better.inc)).or_default().push(item);
            }
        }
        for ((node, inc), items) in newer {
            self.send(from, &Body::Claim { node, inc, items }, turn);
        }
    }

    /// Raises the epoch of what we hold, and claims it.
    pub(super) fn renew(&mut self, address: IpAddr, epoch: u64, turn: &mut Turn<'_>) {
        let Some(entry) = self.held.get_mut(&address) else { return };
        entry.epoch = entry.epoch.max(epoch);
        let entry = *entry;
        turn.kernel.set_entry(address, entry);
        self.records.raise(address, self.record_of(&entry));
        self.claims.taken(turn.now, address);
        self.wake(turn.now);
    }

    /// Takes in one claim; the record to answer with, if ours is greater.
    fn compare(&mut self, address: IpAddr, record: Record, turn: &mut Turn<'_>) -> Option<Record> {
        if let Some(entry) = self.held.get(&address).copied() {
            let own = self.record_of(&entry);
            if record.node == self.me {
                // What we claimed before we began anew must not outrank us.
                if record > own {
                    self.renew(address, record.epoch, turn);
                }
                return None;
            }
            if (record.epoch, record.node) > (own.epoch, own.node) {
                self.records.raise(address, record);
                turn.note(Event::Yielded(address, record));
                self.give_up(address, turn);
                return None;
            }
            return self.ok(turn).then_some(own);
        }
        match self.records.get(address) {
            Some(known) if known > record => Some(known),
            _ => {
                self.records.raise(address, record);
                None
            }
        }
    }
}
