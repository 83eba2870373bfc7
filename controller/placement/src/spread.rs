//! The counts that make lists even, and the choices made by them.
//!
//! Two things are counted: how many groups each node owns, and for each owner how often each
//! other node comes right after it. The first makes the load even, the second what a
//! failure adds to it. Places further back follow a hash, which is even enough
//! for failures that come in twos.

use crate::class::{Class, Nodes};
use crate::mix;

#[derive(Debug, Default)]
pub(crate) struct Spread {
    owned: Vec<usize>,
    /// `after[owner * nodes + next]`.
    after: Vec<u32>,
    longest: usize,
}

impl Spread {
    pub(crate) fn new(nodes: usize, longest: usize) -> Self {
        Self { owned: vec![0; nodes], after: vec![0; nodes * nodes], longest: longest.max(1) }
    }

    pub(crate) fn add(&mut self, list: &[usize]) {
        if let Some(owner) = list.first() {
            self.owned[*owner] += 1;
        }
        if let [owner, next, ..] = list {
            let at = self.at(*owner, *next);
            self.after[at] += 1;
        }
    }

    pub(crate) fn remove(&mut self, list: &[usize]) {
        if let Some(owner) = list.first() {
            self.owned[*owner] -= 1;
        }
        if let [owner, next, ..] = list {
            let at = self.at(*owner, *next);
            self.after[at] -= 1;
        }
    }

    pub(crate) fn owned(&self, node: usize) -> usize {
        self.owned[node]
    }

    fn at(&self, owner: usize, next: usize) -> usize {
        owner * self.owned.len() + next
    }

    fn after(&self, owner: usize, next: usize) -> u32 {
        self.after[self.at(owner, next)]
    }

    /// Who owns from now on: who did, if it may; else the first of its successors
    /// that is as good as any (agents on their own take the same); else who owns least.
    pub(crate) fn owner(&self, class: &Class, old: &[usize], seed: u64, nodes: &Nodes) -> Option<usize> {
        let first = old.first().copied();
        if let Some(owner) = first.filter(|n| class.rank(*n).is_some_and(|rank| class.may_stay(rank))) {
            return Some(owner);
        }
        old.iter()
            .copied()
            .find(|node| class.rank(*node) == Some(0))
            .or_else(|| self.least(class, seed, nodes))
    }

    /// Of the best nodes the one that owns least.
    pub(crate) fn least(&self, class: &Class, seed: u64, nodes: &Nodes) -> Option<usize> {
        class.best().iter().copied().min_by_key(|node| (self.owned[*node], mix(seed, nodes.seeds[*node])))
    }

    /// The whole list of an owner: tier by tier, in each who was in the list before, in the
    /// same order, then others while there is room.
    pub(crate) fn list(
        &self,
        class: &Class,
        owner: usize,
        old: &[usize],
        seed: u64,
        nodes: &Nodes,
    ) -> Vec<usize> {
        let mut list = Vec::with_capacity(self.longest);
        list.push(owner);
        for (rank, tier) in class.tiers.iter().enumerate() {
            let room = self.longest - list.len();
            let kept = old.iter().copied().filter(|n| *n != owner && class.rank(*n) == Some(rank));
            list.extend(kept.take(room));
            if list.len() == 1 && room > 0 {
                let others = tier.nodes.iter().copied().filter(|node| *node != owner);
                list.extend(
                    others.min_by_key(|node| (self.after(owner, *node), mix(seed, nodes.seeds[*node]))),
                );
            }
            let room = self.longest - list.len();
            if room > 0 {
                let mut rest: Vec<_> = tier
                    .nodes
                    .iter()
                    .copied()
                    .filter(|node| !list.contains(node))
                    .map(|node| (mix(seed, nodes.seeds[node]), node))
                    .collect();
                if rest.len() > room {
                    rest.select_nth_unstable(room - 1);
                    rest.truncate(room);
                }
                rest.sort_unstable();
                list.extend(rest.into_iter().map(|(_, node)| node));
            }
        }
        self.span_zones(class, &mut list, seed, nodes);
        list
    }

    /// The list with another node right after the owner, if the present one has its fair
    /// share of that owner's addresses twice over; `None` if it is even enough.
    pub(crate) fn evener(
        &self,
        class: &Class,
        list: &[usize],
        seed: u64,
        nodes: &Nodes,
    ) -> Option<Vec<usize>> {
        let [owner, next, ..] = *list else { return None };
        let tier = class.tiers.get(class.rank(next)?)?;
        let others = tier.nodes.iter().copied().filter(|node| *node != owner);
        let least = others.min_by_key(|node| (self.after(owner, *node), mix(seed, nodes.seeds[*node])))?;
        if self.after(owner, next) < self.after(owner, least) + 2 {
            return None;
        }
        let mut evener = vec![owner, least];
        evener.extend(list[1..].iter().copied().filter(|node| *node != least));
        evener.truncate(self.longest);
        self.span_zones(class, &mut evener, seed, nodes);
        Some(evener)
    }

    /// A list of one zone alone ends with a node of another, if there is one: a zone that
    /// fails must not take all of them.
    fn span_zones(&self, class: &Class, list: &mut [usize], seed: u64, nodes: &Nodes) {
        let zone = list.first().and_then(|node| nodes.zones[*node].as_ref());
        let full = list.len() == self.longest && list.len() > 1;
        if !full || zone.is_none() || list.iter().any(|node| nodes.zones[*node].as_ref() != zone) {
            return;
        }
        let elsewhere = class.tiers.iter().filter(|tier| tier.ready).find_map(|tier| {
            let others = tier.nodes.iter().copied().filter(|node| nodes.zones[*node].as_ref() != zone);
            others.min_by_key(|node| mix(seed, nodes.seeds[*node]))
        });
        if let (Some(node), Some(last)) = (elsewhere, list.last_mut()) {
            *last = node;
        }
    }
}
