//! May this node take an address? It asks the segment first: who answers keeps
//! it. That makes every decision harmless that was made on an old record.

use std::net::IpAddr;

use clarion_fence::{ABLE, NodeId};

use super::event::Event;
use super::message::Item;
use super::timing::{RESOLVE_AGAIN, SEGMENT_WAIT};
use super::{Entry, Machine, Output, Turn};

/// An address that the segment is being asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take {
    epoch: u64,
    since: u64,
    care: Care,
    asked: u64,
}

impl Take {
    /// Asks anew.
    pub(super) fn restart(&mut self, now: u64) {
        (self.since, self.asked) = (now, 0);
    }
}

/// How carefully the segment is asked: so many questions, and so long an answer to
/// each is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Care {
    asks: u64,
    every: u64,
}

/// Where everybody's claims are known and the address has none: only who knows nothing of
/// plans could have it.
pub(super) const NEW: Care = Care { asks: 2, every: RESOLVE_AGAIN / 2 };
/// Where an executor has proof that the owner is fenced.
const URGENT: Care = Care { asks: 2, every: RESOLVE_AGAIN };
/// Where nobody has: at 5 % loss one in 100,000 owners is not heard.
pub(super) const THOROUGH: Care = Care { asks: 5, every: RESOLVE_AGAIN };

impl Machine {
    /// ASSIGN, of another agent or of ourselves.
    pub(super) fn assigned(&mut self, item: Item, handover: bool, from: NodeId, turn: &mut Turn<'_>) {
        let Item { address, epoch } = item;
        if self.own.flags & ABLE == 0 || !self.may_own(address) || !self.ok(turn) {
            return;
        }
        if let Some(entry) = self.held.get(&address) {
            // Not what we are handing over just now.
            if entry.station == self.me {
                self.renew(address, epoch, turn);
            }
            return;
        }
        if let Some(record) = self.records.get(address).filter(|record| record.epoch >= epoch) {
            // The assigner does not know who owns it.
            self.tell(from, address, record, turn);
        } else if handover {
            self.take(address, epoch, turn);
        } else {
            self.try_take(address, epoch, URGENT, turn);
        }
    }

    /// Begins to ask the segment, unless that is under way.
    pub(super) fn try_take(&mut self, address: IpAddr, epoch: u64, care: Care, turn: &mut Turn<'_>) {
        if self.held.contains_key(&address) {
            return;
        }
        let new = Take { epoch, since: turn.now, care, asked: 0 };
        let take = self.takes.entry(address).or_insert(new);
        take.epoch = take.epoch.max(epoch);
        self.wake(turn.now);
    }

    /// Without leases, nothing but a living segment shows that the others are
    /// dead and not we.
    pub(super) fn needs_segment(&self) -> bool {
        self.fence.alone || self.plan.voters_of(self.me).len() == 1
    }

    pub(super) fn answered(&mut self, address: IpAddr, turn: &mut Turn<'_>) {
        if self.takes.remove(&address).is_some() {
            self.moves.remove(&address);
            turn.note(Event::Occupied(address));
        }
    }

    pub(super) fn step_takes(&mut self, turn: &mut Turn<'_>) {
        let under_way: Vec<_> = self.takes.iter().map(|(address, take)| (*address, *take)).collect();
        let mut prove = false;
        for (address, take) in under_way {
            let age = turn.now.saturating_sub(take.since);
            let Care { asks, every } = take.care;
            let step = age / every;
            if step >= asks {
                self.finish(address, take, turn);
                continue;
            }
            if take.asked <= step {
                turn.out.push(Output::Resolve(address));
                prove |= self.needs_segment();
                self.takes.insert(address, Take { asked: step + 1, ..take });
            }
            self.wake(take.since.saturating_add(every * (step + 1)));
        }
        if prove {
            turn.out.push(Output::ProveSegment);
        }
    }

    /// Nobody answered in time.
    fn finish(&mut self, address: IpAddr, take: Take, turn: &mut Turn<'_>) {
        if self.needs_segment() && self.fence.segment_at < take.since {
            let until = take.since.saturating_add(SEGMENT_WAIT);
            if turn.now < until {
                return self.wake(until);
            }
            turn.note(Event::NoSegment(address));
        } else if take.epoch > self.records.epoch(address) && self.ok(turn) {
            self.take(address, take.epoch, turn);
        }
        self.takes.remove(&address);
    }

    fn take(&mut self, address: IpAddr, epoch: u64, turn: &mut Turn<'_>) {
        let entry = Entry { epoch, inc: self.own.inc, station: self.me };
        turn.kernel.set_entry(address, entry);
        self.held.insert(address, entry);
        self.records.raise(address, self.record_of(&entry));
        if self.plan.places.get(&address).is_some_and(|place| place.epoch > epoch) {
            // Assigned by who did not know of the controller's newer word.
            self.moves.insert(address);
        }
        turn.note(Event::Took(address, epoch));
        turn.out.push(Output::Announce(address));
        self.claims.taken(turn.now, address);
        self.wake(turn.now);
    }
}
