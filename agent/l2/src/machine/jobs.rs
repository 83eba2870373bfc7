//! Who gets an address, and did it take it? One job for each address that lost
//! its owner: ASSIGN to the first fit node of its list, again and again until a
//! claim is heard, then to the next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use clarion_fence::{ABLE, FLAG_ABLE, FLAG_OK, NodeId};

use super::event::Event;
use super::message::{Body, Item, MAX_ITEMS};
use super::orphan::lot;
use super::taker::{NEW, THOROUGH};
use super::timing::{ASSIGN_AGAIN, BEAT_GOOD, BEAT_LIMIT, LOOK_AGAIN, NEXT_TARGET};
use super::{Machine, Placement, Turn};

/// Moves that are begun at a time, since each makes frames on the segment.
const MOVES: usize = 512;

/// An address on its way to a new owner.
#[derive(Debug, Clone)]
pub(super) struct Job {
    epoch: u64,
    /// Who lost it.
    from: NodeId,
    /// Who should get it before all others.
    preferred: Option<NodeId>,
    tried: Vec<NodeId>,
    target: Option<(NodeId, u64)>,
    /// We answer for it meanwhile.
    handover: bool,
}

impl Machine {
    /// The address lost its owner `from`: find it another.
    pub(super) fn assign(&mut self, address: IpAddr, epoch: u64, from: NodeId, turn: &Turn<'_>) {
        let job = Job { epoch, from, preferred: None, tried: Vec::new(), target: None, handover: false };
        self.jobs.entry(address).or_insert(job);
        self.jobs_at = turn.now;
    }

    /// Planned hand-over: we answer with the next owner's MAC until it claims.
    pub(super) fn hand_over(&mut self, address: IpAddr, preferred: Option<NodeId>, turn: &Turn<'_>) {
        let Some(entry) = self.held.get(&address) else { return };
        let (epoch, from) = (entry.epoch.saturating_add(1), self.me);
        let job = Job { epoch, from, preferred, tried: Vec::new(), target: None, handover: true };
        self.jobs.entry(address).or_insert(job);
        self.jobs_at = turn.now;
        self.wake(turn.now);
    }

    /// An address that we can serve no longer.
    pub(super) fn lose(&mut self, address: IpAddr, turn: &mut Turn<'_>) {
        if let Some(entry) = self.held.get(&address).copied() {
            self.give_up(address, turn);
            self.jobs.remove(&address);
            self.assign(address, entry.epoch.saturating_add(1), self.me, turn);
        }
    }

    pub(super) fn step_jobs(&mut self, turn: &mut Turn<'_>) {
        if self.jobs.is_empty() {
            return;
        }
        if turn.now >= self.jobs_at {
            self.jobs_at = turn.now.saturating_add(ASSIGN_AGAIN);
            let mut batches: BTreeMap<(NodeId, bool), Vec<Item>> = BTreeMap::new();
            let addresses: Vec<_> = self.jobs.keys().copied().collect();
            for address in addresses {
                if let Some((target, handover, item)) = self.step_job(address, turn) {
                    batches.entry((target, handover)).or_default().push(item);
                }
            }
            for ((target, handover), items) in batches {
                self.send_assign(target, handover, &items, turn);
            }
        }
        self.wake(self.jobs_at);
    }

    fn send_assign(&mut self, target: NodeId, handover: bool, items: &[Item], turn: &mut Turn<'_>) {
        if target == self.me {
            for item in items {
                self.assigned(*item, handover, target, turn);
            }
            return;
        }
        for chunk in items.chunks(MAX_ITEMS) {
            self.send(target, &Body::Assign { handover, items: chunk.to_vec() }, turn);
        }
    }

    fn step_job(&mut self, address: IpAddr, turn: &mut Turn<'_>) -> Option<(NodeId, bool, Item)> {
        let mut job = self.jobs.remove(&address)?;
        if self.records.epoch(address) >= job.epoch || (job.handover && !self.held.contains_key(&address)) {
            return None;
        }
        let waited = |since: u64| turn.now.saturating_sub(since) >= NEXT_TARGET;
        if job.target.is_none_or(|(_, since)| waited(since)) {
            if job.target.is_some() {
                job.epoch = job.epoch.saturating_add(1);
            }
            let Some(target) = self.choose(address, &job, turn) else {
                self.no_target(address, &job, turn);
                return None;
            };
            turn.note(Event::Assigning(address, job.epoch, target));
            job.tried.push(target);
            job.target = Some((target, turn.now));
            if job.handover {
                self.answer_for(address, target, turn);
            }
        }
        let item = Item { address, epoch: job.epoch };
        let send = job.target.map(|(target, _)| (target, job.handover, item));
        self.jobs.insert(address, job);
        send
    }

    fn choose(&self, address: IpAddr, job: &Job, turn: &Turn<'_>) -> Option<NodeId> {
        let list = self.plan.list(address);
        let fit = |limit: u64| {
            let candidates = job.preferred.iter().chain(list).copied();
            let mut candidates = candidates.filter(|n| *n != job.from && !job.tried.contains(n));
            candidates.find(|n| self.fit(*n, limit, turn))
        };
        fit(BEAT_GOOD).or_else(|| fit(BEAT_LIMIT)).or_else(|| self.beyond(address, job, turn))
    }

    /// None of the list is left: somebody in sight that is not on it. Whether it may own the
    /// address it knows itself, and takes it or not.
    fn beyond(&self, address: IpAddr, job: &Job, turn: &Turn<'_>) -> Option<NodeId> {
        if job.handover || self.timing.orphan.is_none() || self.plan.list(address).is_empty() {
            return None;
        }
        let mine = Some(self.me).filter(|_| self.may_own(address));
        let open = |n: &NodeId| *n != job.from && !job.tried.contains(n) && self.fit(*n, BEAT_GOOD, turn);
        let open = self.pairs.iter().copied().chain(mine).filter(open);
        open.max_by_key(|node| lot(address, *node))
    }

    /// Whether the node can be given an address: whole, able, heard just now, and
    /// with a beating agent.
    pub(super) fn fit(&self, node: NodeId, limit: u64, turn: &Turn<'_>) -> bool {
        if node == self.me {
            return self.own.flags & ABLE != 0 && self.ok(turn);
        }
        let flags = u64::from(FLAG_OK | FLAG_ABLE);
        self.fresh(node, turn)
            .is_some_and(|peer| peer.flags & flags == flags && turn.now.saturating_sub(peer.beat) < limit)
    }

    /// While it is handed over, an address is answered with the next owner's MAC.
    fn answer_for(&mut self, address: IpAddr, station: NodeId, turn: &mut Turn<'_>) {
        if let Some(entry) = self.held.get_mut(&address) {
            entry.station = station;
            turn.kernel.set_entry(address, *entry);
        }
    }

    /// A dead node's addresses wait for the next collection or the controller; our
    /// own we keep, under an epoch above those that we offered.
    fn no_target(&mut self, address: IpAddr, job: &Job, turn: &mut Turn<'_>) {
        turn.note(Event::NoTarget(address));
        if !job.handover || job.tried.is_empty() {
            return;
        }
        self.answer_for(address, self.me, turn);
        self.renew(address, job.epoch, turn);
    }

    /// What a plan with a newer epoch moves: to us, if we come first in the list
    /// (the taker asks the segment, so that no owner is robbed); away from us.
    pub(super) fn step_moves(&mut self, turn: &mut Turn<'_>) {
        if self.moves.is_empty() {
            return;
        }
        if turn.now >= self.moves_at {
            self.moves_at = turn.now.saturating_add(LOOK_AGAIN);
            let after = self.moved.take().map_or(Bound::Unbounded, Bound::Excluded);
            let due: Vec<_> = self.moves.range((after, Bound::Unbounded)).copied().take(MOVES).collect();
            if due.len() == MOVES {
                // The others follow, whatever comes of these.
                self.moved = due.last().copied();
                self.moves_at = turn.now.saturating_add(ASSIGN_AGAIN);
            }
            for address in due {
                if self.settled(address, turn) {
                    self.moves.remove(&address);
                }
            }
        }
        self.wake(self.moves_at);
    }

    /// Addresses about which the plan may want something of this node.
    pub(super) fn plan_moves(&mut self, turn: &Turn<'_>) {
        let concerns = |(address, place): &(&IpAddr, &Arc<Placement>)| {
            self.records.epoch(**address) < place.epoch
                && (place.nodes.first() == Some(&self.me) || self.held.contains_key(*address))
        };
        self.moves = self.plan.places.iter().filter(concerns).map(|(address, _)| *address).collect();
        (self.moved, self.moves_at) = (None, turn.now);
    }

    /// Whether nothing is left to do about what the plan says of an address.
    fn settled(&mut self, address: IpAddr, turn: &mut Turn<'_>) -> bool {
        let Some(place) = self.plan.places.get(&address) else { return true };
        let stays = self.plan.stay && place.nodes.contains(&self.me);
        let (epoch, moves) = (place.epoch, place.moves && !stays);
        let Some(first) = place.nodes.first().copied() else { return true };
        if self.records.epoch(address) >= epoch {
            return true;
        }
        let held = self.held.contains_key(&address);
        if held && (first == self.me || !moves) {
            self.assigned(Item { address, epoch }, false, self.me, turn);
        } else if held && self.fit(first, BEAT_GOOD, turn) {
            self.hand_over(address, Some(first), turn);
        } else if first != self.me {
            return !held;
        } else if self.fit(first, BEAT_LIMIT, turn) {
            // Where everybody's claims are known and there is none, nobody is to be robbed.
            let heard = self.claims.complete(self.plan.nodes.len(), turn.now);
            let new = heard && self.records.get(address).is_none();
            self.try_take(address, epoch, if new { NEW } else { THOROUGH }, turn);
        }
        false
    }
}
