//! Has a peer lost its addresses, and is it for this node to say so?
//!
//! A voter that suspects a peer collects promises of so many of the peer's
//! voters that no majority of leases is left; then, and only then, it assigns
//! what the peer owned. Ranks are staggered and whoever was asked holds back, so
//! that one collects; promises are exclusive, so that one decides.

use std::collections::BTreeSet;

use clarion_fence::{Asked, Kind, Message, NodeId, Peer, Vote, depose};

use super::event::Event;
use super::timing::{ASK_AGAIN, HUNT_AGAIN};
use super::{Machine, Output, Turn};

/// What is under way about one peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Hunt {
    /// A newer incarnation of the peer was heard while records name an older one.
    reborn: Option<u64>,
    /// Not before this.
    not_before: u64,
    /// Of the first rank, and its last collection came to nothing.
    failed: bool,
    /// The incarnation that a note was made of, so that none is repeated.
    noted: u64,
    collection: Option<Collection>,
}

#[derive(Debug, Clone)]
struct Collection {
    inc: u64,
    started: u64,
    asked: u64,
    yes: BTreeSet<NodeId>,
}

impl Machine {
    pub(super) fn step_hunts(&mut self, turn: &mut Turn<'_>) {
        for node in self.watched.clone() {
            self.hunt(node, turn);
        }
    }

    /// Up to which incarnation the peer is to be deposed, and since when.
    fn grounds(&mut self, node: NodeId, peer: &Peer, turn: &Turn<'_>) -> Option<(u64, u64)> {
        let (first, last) = self.records.incarnations(node)?;
        // Not by the lease's end alone: whoever did not probe has heard nothing.
        let silent = self.fence.unanswered_from(peer.rt).unwrap_or(u64::MAX);
        let from = self.suspect_from(node, peer, turn).saturating_add(1).max(silent);
        if first < peer.inc && turn.now < from {
            // It began anew (boot, resignation): what it owned before is nobody's.
            let hunt = self.hunts.entry(node).or_default();
            let since = *hunt.reborn.get_or_insert(turn.now);
            return Some((peer.inc - 1, since));
        }
        Some((peer.inc.max(last), from))
    }

    fn hunt(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let Some(peer) = turn.kernel.peer(node) else { return };
        let Some((inc, from)) = self.grounds(node, &peer, turn) else {
            self.hunts.remove(&node);
            return;
        };
        let stagger = self.timing.stagger;
        let rank = self.plan.voters_of(node).iter().position(|voter| *voter == self.me).unwrap_or(0);
        let due = from.saturating_add(stagger.saturating_mul(rank as u64));
        let hunt = self.hunts.entry(node).or_default();
        let due = due.max(hunt.not_before);
        if turn.now < due {
            hunt.collection = None;
            return self.wake(due);
        }
        let window = self.timing.window;
        match &mut hunt.collection {
            Some(collection) if turn.now.saturating_sub(collection.started) > window => {
                // Too few promises in time. Another may have collected at the same
                // moment: the ranks part ways, and the first holds back no more.
                hunt.failed = rank == 0;
                let again = turn.now.saturating_add(stagger.saturating_mul(rank as u64));
                self.postpone(node, again);
            }
            Some(collection) if turn.now.saturating_sub(collection.asked) >= ASK_AGAIN => {
                collection.asked = turn.now;
                self.ask_voters(node, turn);
            }
            Some(collection) => {
                let at = collection.asked.saturating_add(ASK_AGAIN);
                self.wake(at);
            }
            None => self.collect(node, inc, turn),
        }
    }

    fn collect(&mut self, node: NodeId, inc: u64, turn: &mut Turn<'_>) {
        let asked = turn.kernel.peer(node).map_or(0, |peer| peer.promise.asked);
        let quiet = asked.saturating_add(self.timing.window / 2);
        let failed = self.hunts.get(&node).is_some_and(|hunt| hunt.failed);
        if asked != 0 && turn.now < quiet && !failed {
            return self.postpone(node, quiet);
        }
        if turn.kernel.ask(node, inc, turn.now) != Asked::Yes {
            return self.postpone(node, turn.now.saturating_add(ASK_AGAIN));
        }
        if std::mem::replace(&mut self.hunts.entry(node).or_default().noted, inc) != inc {
            turn.note(Event::Collecting(node, inc));
        }
        let yes = BTreeSet::from([self.me]);
        let collection = Collection { inc, started: turn.now, asked: turn.now, yes };
        self.hunts.entry(node).or_default().collection = Some(collection);
        self.ask_voters(node, turn);
        self.decide(node, turn);
    }

    fn postpone(&mut self, node: NodeId, until: u64) {
        let hunt = self.hunts.entry(node).or_default();
        (hunt.not_before, hunt.collection) = (until, None);
        self.wake(until);
    }

    fn ask_voters(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let Some(collection) = self.hunts.get(&node).and_then(|hunt| hunt.collection.clone()) else { return };
        let vote = Vote { about: node, inc: collection.inc, nonce: collection.started };
        for voter in self.plan.voters_of(node).to_vec() {
            if !collection.yes.contains(&voter) {
                turn.out.push(Output::Signal(Message::ask(self.me, voter, self.own.inc, vote)));
            }
        }
        self.wake(turn.now.saturating_add(ASK_AGAIN));
    }

    /// A voter's kernel has promised.
    pub(super) fn voted(&mut self, message: &Message, turn: &mut Turn<'_>) {
        let (from, vote) = (message.from, message.vote());
        if message.kind != Kind::Yes || message.to != self.me {
            return;
        }
        let is_voter = self.plan.voters_of(vote.about).contains(&from);
        let Some(collection) = self.hunts.get_mut(&vote.about).and_then(|hunt| hunt.collection.as_mut())
        else {
            return;
        };
        let in_time = turn.now.saturating_sub(collection.started) <= self.timing.window;
        if is_voter && in_time && (collection.inc, collection.started) == (vote.inc, vote.nonce) {
            collection.yes.insert(from);
            self.decide(vote.about, turn);
        }
    }

    /// With enough promises the peer is deposed for good: its addresses go to others.
    fn decide(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let voters = self.plan.voters_of(node).len() as u64;
        let Some(hunt) = self.hunts.get_mut(&node) else { return };
        let Some(collection) = &hunt.collection else { return };
        if (collection.yes.len() as u64) < depose(voters) {
            return;
        }
        let inc = collection.inc;
        let again = turn.now.saturating_add(HUNT_AGAIN);
        (hunt.collection, hunt.not_before, hunt.failed) = (None, again, false);
        let lost: Vec<_> = self.records.owned(node, inc).collect();
        turn.note(Event::Deposed(node, lost.len()));
        for (address, record) in lost {
            self.assign(address, record.epoch.saturating_add(1), node, turn);
        }
        self.jobs_at = turn.now;
        self.wake(turn.now);
    }
}
