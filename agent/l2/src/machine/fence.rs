//! May this node answer? The kernel decides; the agent beats, probes, looks on,
//! and acts when the answer is no.
//!
//! ```text
//!            k leases valid                  fenced, k voters heard, for 1 s
//!  WHOLE <──────────────────> FENCED ──────────────────────> inc+1, nothing owned
//!                               │ fewer than k heard, segment lives, for 1 s
//!                               └──> ALONE: inc+1, no lease needed, takes what
//!                                    nobody answers; until k leases are valid
//! ```

use std::collections::BTreeSet;

use clarion_fence::{ABLE, FLAG_GRANT, NEVER, NodeId, VOTERS, held, needed, probe, recheck};

use super::event::Event;
use super::taker::THOROUGH;
use super::timing::{HURRY, LOOK_AGAIN, SEGMENT_LIVES, WATCH};
use super::{Ability, Machine, Output, Turn};

/// Most candidates that are probed at a time.
const CANDIDATES: usize = 64;
/// So many probes in a row must be unanswered, besides the lease having ended, before a peer
/// is suspected. Who slept through a lease has probed nobody: all that it knows is that it slept.
const UNANSWERED: usize = 3;
/// One more is remembered, so that of a peer that is silent for long the third last counts.
const ROUNDS: usize = UNANSWERED + 1;

/// What is remembered between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Fence {
    ok: bool,
    /// Since when not.
    fenced: Option<u64>,
    /// Since when it is also true that too few voters are heard and the segment lives.
    cut_off: Option<u64>,
    /// When the segment last answered, and when it was last asked to.
    pub(super) segment_at: u64,
    segment_asked: u64,
    /// No lease is needed: the last node standing.
    pub(super) alone: bool,
    former: BTreeSet<std::net::IpAddr>,
    alone_at: u64,
    /// Peers whose round trips succeed.
    fresh: BTreeSet<NodeId>,
    next_probe: u64,
    recall: u64,
    voters_at: u64,
    /// When all peers were probed last, the latest time last.
    rounds: [u64; ROUNDS],
    /// Rounds that follow one another at once.
    hurry: usize,
}

impl Fence {
    pub(super) fn contacts(&self) -> &BTreeSet<NodeId> {
        &self.fresh
    }

    /// The agent stood still: leases may have ended at both ends for no other reason. The second
    /// probe carries what the answer to the first one allows to grant.
    pub(super) fn awake(&mut self) {
        self.hurry = UNANSWERED;
    }

    /// When a peer whose last round trip began at `rt` has left enough probes unanswered;
    /// `None` if it has not been sent so many since.
    pub(super) fn unanswered_from(&self, rt: u64) -> Option<u64> {
        let mut since = self.rounds.iter().filter(|round| **round > rt);
        Some(since.nth(UNANSWERED - 1)?.saturating_add(HURRY))
    }
}

impl Machine {
    pub(super) fn step_fence(&mut self, turn: &mut Turn<'_>) {
        if turn.now >= self.fence.next_probe {
            // Alone, everything depends on noticing others as soon as they return.
            let usual = if self.fence.alone { self.timing.probe / 2 } else { self.timing.probe };
            self.fence.hurry = self.fence.hurry.saturating_sub(1);
            let pause = if self.fence.hurry > 0 { usual.min(HURRY) } else { usual };
            self.fence.next_probe = turn.now.saturating_add(pause);
            self.fence.rounds.rotate_left(1);
            self.fence.rounds[ROUNDS - 1] = turn.now;
            self.own.heartbeat = turn.now;
            self.follow_voters(turn);
            turn.kernel.set_own(self.own);
            self.fence.recall = turn.now.saturating_add(pause / 2);
            self.find_candidates(turn);
            let peers = self.pairs.union(&self.candidates).copied().collect();
            self.probe_all(peers, turn);
        }
        self.wake(self.fence.next_probe);
        self.contacts(turn);
        if turn.now >= self.fence.recall {
            // Whoever returns may own what we do: it is called twice as often.
            self.fence.recall = self.fence.next_probe.saturating_add(1);
            let silent = self.pairs.difference(&self.fence.fresh).copied().collect();
            self.probe_all(silent, turn);
        }
        let ok = self.ok(turn);
        if ok != self.fence.ok {
            self.fence.ok = ok;
            turn.note(if ok { Event::Whole } else { Event::Fenced });
            if ok {
                // Whoever took our addresses meanwhile must hear of us, and we of it.
                self.claims.contact(turn.now);
            }
        }
        if ok {
            (self.fence.fenced, self.fence.cut_off) = (None, None);
            self.not_alone(turn);
        } else {
            self.wake(turn.now.saturating_add(WATCH));
            self.fenced(turn);
        }
        if self.fence.alone {
            self.step_alone(turn);
        }
    }

    fn probe_all(&mut self, peers: Vec<NodeId>, turn: &mut Turn<'_>) {
        let leases = turn.kernel.leases();
        for to in peers {
            let Some(peer) = turn.kernel.peer(to) else { continue };
            let mut message = probe(&self.own, &leases, &peer, to, turn.now);
            if message.has(FLAG_GRANT) {
                turn.kernel.set_granted(to, peer.heard);
                if let Some(peer) = turn.kernel.peer(to) {
                    recheck(&self.own, &peer, &peer.promise, &mut message);
                }
            }
            turn.out.push(Output::Signal(message));
        }
    }

    /// Before a peer is suspected, those who may get its addresses are probed, so
    /// that a dead one is not chosen; who stands last probes everybody.
    fn find_candidates(&mut self, turn: &mut Turn<'_>) {
        let mut wanted = self.courted();
        wanted.append(&mut self.bereaved(turn.now));
        if self.fence.alone || self.fence.cut_off.is_some() {
            let others = |node: &NodeId| *node != self.me && !self.pairs.contains(node);
            wanted = self.plan.nodes.iter().copied().filter(others).collect();
        }
        for node in &self.watched {
            let Some(peer) = turn.kernel.peer(*node) else { continue };
            let from = self.suspect_from(*node, &peer, turn);
            if turn.now.saturating_add(self.timing.lease / 2) < from {
                continue;
            }
            for (address, _) in self.records.owned(*node, u64::MAX).take(1024) {
                let list = self.plan.list(address).iter().copied();
                wanted.extend(list.filter(|n| *n != self.me && n != node && !self.pairs.contains(n)));
            }
        }
        if !self.jobs.is_empty() {
            // Whom they were promised to is not forgotten meanwhile.
            wanted.extend(&self.candidates);
        }
        let wanted: BTreeSet<_> = wanted.into_iter().take(CANDIDATES).collect();
        for gone in self.candidates.difference(&wanted) {
            turn.kernel.unwatch(*gone);
        }
        for new in &wanted {
            turn.kernel.watch(*new, turn.now);
        }
        self.candidates = wanted;
    }

    /// Contact that comes back is a reason to claim: each may own what the other does.
    fn contacts(&mut self, turn: &mut Turn<'_>) {
        let mut all = self.pairs.clone();
        if self.fence.alone {
            all.extend(&self.candidates);
        }
        let now_fresh: BTreeSet<_> = all.iter().copied().filter(|n| self.fresh(*n, turn).is_some()).collect();
        for node in self.fence.fresh.difference(&now_fresh) {
            turn.note(Event::NoContact(*node));
        }
        let mut came = false;
        for node in now_fresh.difference(&self.fence.fresh) {
            turn.note(Event::Contact(*node));
            came = true;
        }
        if came {
            self.claims.contact(turn.now);
        }
        if now_fresh.len() < all.len() {
            self.wake(turn.now.saturating_add(WATCH).min(self.fence.recall.max(turn.now + 1)));
        }
        self.fence.fresh = now_fresh;
    }

    fn voters(&self) -> u64 {
        self.own.voters.iter().filter(|voter| **voter != NodeId::NOBODY).count() as u64
    }

    fn fenced(&mut self, turn: &mut Turn<'_>) {
        let since = *self.fence.fenced.get_or_insert(turn.now);
        let ahead = self.pairs.iter().filter_map(|n| turn.kernel.peer(*n)).map(|peer| peer.ahead).max();
        if let Some(ahead) = ahead.filter(|ahead| *ahead > self.own.inc) {
            return self.begin_anew(ahead.saturating_add(1), turn);
        }
        if self.own.needs == NEVER {
            return;
        }
        let voters = self.own.voters.iter();
        let heard = voters.filter(|voter| self.fresh(**voter, turn).is_some()).count() as u64;
        if heard >= needed(self.voters()) {
            self.fence.cut_off = None;
            if turn.now.saturating_sub(since) >= self.timing.resign {
                self.begin_anew(self.own.inc.saturating_add(1), turn);
            }
        } else if let Some(pause) = self.timing.available {
            self.stand_last(pause, turn);
        }
    }

    /// A new incarnation, which owns nothing: what others promised about the old
    /// one does not concern it.
    fn begin_anew(&mut self, inc: u64, turn: &mut Turn<'_>) {
        for address in std::mem::take(&mut self.held).into_keys() {
            turn.kernel.delete_entry(address);
            self.jobs.remove(&address);
        }
        self.takes.clear();
        self.own.inc = inc;
        turn.kernel.set_own(self.own);
        self.fence.fenced = Some(turn.now);
        turn.note(Event::Resigned(inc));
    }

    /// `available`: the pause counts only while the segment is proven again and
    /// again, so that a node whose own link was cut and has just come back waits
    /// to be heard by the others first.
    fn stand_last(&mut self, pause: u64, turn: &mut Turn<'_>) {
        if turn.now.saturating_sub(self.fence.segment_asked) >= LOOK_AGAIN {
            self.fence.segment_asked = turn.now;
            turn.out.push(Output::ProveSegment);
        }
        let proven = self.fence.segment_at;
        if proven == 0 || turn.now.saturating_sub(proven) > SEGMENT_LIVES || self.own.flags & ABLE == 0 {
            self.fence.cut_off = None;
            return;
        }
        let since = *self.fence.cut_off.get_or_insert(turn.now);
        if turn.now.saturating_sub(since) >= pause {
            self.fence.former = self.held.keys().copied().collect();
            self.begin_anew(self.own.inc.saturating_add(1), turn);
            (self.fence.alone, self.fence.alone_at) = (true, turn.now);
            self.own.needs = 0;
            turn.kernel.set_own(self.own);
            turn.note(Event::LastStanding);
        }
    }

    /// Takes what nobody in reach owns, each address by the first node in reach.
    fn step_alone(&mut self, turn: &mut Turn<'_>) {
        if turn.now >= self.fence.alone_at {
            self.fence.alone_at = turn.now.saturating_add(LOOK_AGAIN);
            let former = std::mem::take(&mut self.fence.former);
            let plan = std::sync::Arc::clone(&self.plan);
            for (address, place) in &plan.places {
                let owner = self.records.get(*address).map(|record| record.node);
                let lost = match owner {
                    Some(node) if node == self.me => true,
                    Some(node) => self.fresh(node, turn).is_none(),
                    None => true,
                };
                let first = place.nodes.iter().find(|n| **n == self.me || self.fresh(**n, turn).is_some());
                if lost && (first == Some(&self.me) || former.contains(address)) {
                    let epoch = self.records.epoch(*address).max(place.epoch).saturating_add(1);
                    self.try_take(*address, epoch, THOROUGH, turn);
                }
            }
        }
        self.wake(self.fence.alone_at);
    }

    fn not_alone(&mut self, turn: &mut Turn<'_>) {
        let needs = needed(self.voters());
        if self.fence.alone && held(&self.own, &turn.kernel.leases(), turn.now) >= needs {
            self.fence.alone = false;
            self.own.needs = needs;
            turn.kernel.set_own(self.own);
            turn.note(Event::NotAlone);
        }
    }

    /// Brings the voters in force to the plan's, one at a time while it matters:
    /// two successive sets then share a majority's worth of leases.
    fn follow_voters(&mut self, turn: &Turn<'_>) {
        let wanted: Vec<_> = self.plan.voters_of(self.me).iter().copied().filter(|n| *n != self.me).collect();
        let extra = |voter: &NodeId| *voter != NodeId::NOBODY && !wanted.contains(voter);
        let missing = wanted.iter().copied().find(|voter| !self.own.voters.contains(voter));
        let surplus = self.own.voters.iter().position(extra);
        if self.plan.version == 0 || (missing.is_none() && surplus.is_none() && self.own.needs != NEVER) {
            return;
        }
        let mut next = self.own;
        if self.ok(turn) && !self.fence.alone && self.voters() > 0 {
            let free = || self.own.voters.iter().position(|voter| *voter == NodeId::NOBODY);
            match missing {
                Some(new) => {
                    if let Some(slot) = free().or(surplus) {
                        next.voters[slot] = new;
                    }
                }
                None => {
                    if let Some(slot) = surplus {
                        next.voters[slot] = NodeId::NOBODY;
                    }
                }
            }
        } else {
            next.voters = [NodeId::NOBODY; VOTERS];
            for (slot, voter) in next.voters.iter_mut().zip(&wanted) {
                *slot = *voter;
            }
        }
        let count = next.voters.iter().filter(|voter| **voter != NodeId::NOBODY).count() as u64;
        next.needs = if self.fence.alone { 0 } else { needed(count) };
        // A voter that has not granted yet may cost the majority: it gets a while.
        let patient = turn.now.saturating_sub(self.fence.voters_at) < self.timing.resign;
        let waits = held(&next, &turn.kernel.leases(), turn.now) < next.needs && self.ok(turn);
        if !(waits && patient) {
            self.own = next;
            self.fence.voters_at = turn.now;
        }
    }

    pub(super) fn set_able(&mut self, ability: Ability, turn: &mut Turn<'_>) {
        let able = ability == Ability::Able;
        self.own.flags = if able { self.own.flags | ABLE } else { self.own.flags & !ABLE };
        turn.kernel.set_own(self.own);
        if !able {
            self.takes.clear();
            let held: Vec<_> = self.held.keys().copied().collect();
            for address in held {
                match ability {
                    Ability::CutOff => self.lose(address, turn),
                    Ability::Draining | Ability::Able => self.hand_over(address, None, turn),
                }
            }
        }
        self.wake(turn.now);
    }
}
