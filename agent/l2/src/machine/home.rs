//! Does an address go back to whom the plan names first?
//!
//! A failure moves addresses by what the nodes know; the controller, which does
//! not hear of it, goes on counting them as the first node's. When that node has
//! come back and has been fit for a while, whoever holds its addresses hands
//! them over, a few at a time: a move costs connections, unevenness costs more
//! in the long run. Nothing is unanswered meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_fence::NodeId;

use super::timing::{BEAT_GOOD, HOME_LOOK};
use super::{Machine, Turn};

/// Addresses that go home at a time.
const AT_ONCE: usize = 10;

/// What is remembered between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Home {
    /// Since when each node that something of ours should go to is fit.
    fit: BTreeMap<NodeId, u64>,
    look_at: u64,
    move_at: u64,
}

impl Machine {
    pub(super) fn step_home(&mut self, turn: &mut Turn<'_>) {
        let Some(pause) = self.timing.home.filter(|_| !self.plan.stay) else { return };
        if turn.now >= self.home.look_at {
            self.home.look_at = turn.now.saturating_add(HOME_LOOK);
            let homes = self.homes();
            let nodes: BTreeSet<_> = homes.values().copied().collect();
            let fit: Vec<_> = nodes.into_iter().filter(|node| self.fit(*node, BEAT_GOOD, turn)).collect();
            self.home.fit.retain(|node, _| fit.contains(node));
            for node in fit {
                self.home.fit.entry(node).or_insert(turn.now);
            }
            let long = |node: &NodeId| {
                self.home.fit.get(node).is_some_and(|since| turn.now.saturating_sub(*since) >= pause)
            };
            let due: Vec<_> = homes.into_iter().filter(|(_, node)| long(node)).take(AT_ONCE).collect();
            if turn.now >= self.home.move_at && !due.is_empty() && self.ok(turn) {
                self.home.move_at = turn.now.saturating_add(pause);
                for (address, node) in due {
                    self.hand_over(address, Some(node), turn);
                }
            }
        }
        self.wake(self.home.look_at);
    }

    /// What we hold though the plan names another first. Not what a plan has just
    /// moved: that is `step_moves`' affair.
    fn homes(&self) -> BTreeMap<IpAddr, NodeId> {
        let away = self.held.keys().filter(|address| !self.jobs.contains_key(*address));
        let first = away.filter_map(|address| Some((*address, *self.plan.list(*address).first()?)));
        first.filter(|(address, node)| *node != self.me && !self.moves.contains(address)).collect()
    }

    /// Nodes that something of ours may go to: they are probed, so that it is known
    /// whether they can take it.
    pub(super) fn courted(&self) -> BTreeSet<NodeId> {
        let mine = self.held.keys().filter_map(|address| self.plan.list(*address).first());
        mine.copied().filter(|node| *node != self.me && !self.pairs.contains(node)).collect()
    }
}
