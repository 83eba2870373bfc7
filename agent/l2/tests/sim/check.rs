//! What must never be, and what may be for how long.

use super::controller::address;
use super::world::World;

/// A time during which something was wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell {
    pub(crate) address: usize,
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// Of an overlap: its longest stretch while the owners could talk.
    pub(crate) talking: u64,
}

impl Spell {
    pub(crate) fn length(&self) -> u64 {
        self.until - self.from
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) overlaps: Vec<Spell>,
    pub(crate) dark: Vec<Spell>,
    /// Owners that took an address after the first one, by address.
    pub(crate) moves: Vec<u32>,
    pub(crate) unanswered: Vec<usize>,
    /// Live nodes that may not answer at the end.
    pub(crate) fenced: Vec<usize>,
}

impl Verdict {
    pub(crate) fn talking(&self) -> u64 {
        self.overlaps.iter().map(|spell| spell.talking).max().unwrap_or(0)
    }
}

#[derive(Default, Clone)]
struct Watch {
    holders: Vec<usize>,
    dark: Option<u64>,
    overlap: Option<u64>,
    talks: Option<u64>,
    longest: u64,
    last: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Checker {
    watches: Vec<Watch>,
    contested: Vec<usize>,
    dark: Vec<usize>,
    /// Since darkness was last looked at.
    changed: bool,
    pub(crate) verdict: Verdict,
}

impl Checker {
    pub(crate) fn new(addresses: usize) -> Self {
        let verdict = Verdict { moves: vec![0; addresses], ..Verdict::default() };
        Self { watches: vec![Watch::default(); addresses], verdict, ..Self::default() }
    }

    pub(crate) fn holders(&self, index: usize) -> &[usize] {
        &self.watches[index].holders
    }

    /// The node's entry of this address came, changed or went.
    pub(crate) fn touched(&mut self, index: usize, node: usize, holds: bool) {
        let watch = &mut self.watches[index];
        self.changed = true;
        watch.holders.retain(|n| *n != node);
        if holds {
            watch.holders.push(node);
            if watch.holders.len() > 1 && !self.contested.contains(&index) {
                self.contested.push(index);
            }
        }
    }

    pub(crate) fn took(&mut self, index: usize, node: usize) {
        let watch = &mut self.watches[index];
        if watch.last.is_some_and(|last| last != node) {
            self.verdict.moves[index] += 1;
        }
        watch.last = Some(node);
    }
}

impl World {
    /// The nodes that answer for an address, each with its own MAC or another's.
    pub(crate) fn answering(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.checker.holders(index).iter().copied().filter(move |n| self.answers(*n, index))
    }

    pub(crate) fn check(&mut self) {
        let mut i = 0;
        while i < self.checker.contested.len() {
            let index = self.checker.contested[i];
            let (overlap, talking) = self.overlap(index);
            self.note_overlap(index, overlap, talking);
            if self.checker.holders(index).len() > 1 {
                i += 1;
            } else {
                self.checker.contested.swap_remove(i);
            }
        }
        if !std::mem::take(&mut self.checker.changed) {
            return;
        }
        let mut i = 0;
        while i < self.checker.dark.len() {
            let index = self.checker.dark[i];
            if self.answering(index).next().is_some() {
                self.lighten(index);
                self.checker.dark.swap_remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Each millisecond: has an address become dark?
    pub(crate) fn sample(&mut self) {
        self.checker.changed = true;
        for index in 0..self.config.addresses {
            if self.checker.watches[index].dark.is_none() && self.answering(index).next().is_none() {
                self.checker.watches[index].dark = Some(self.now);
                self.checker.dark.push(index);
            }
        }
    }

    fn lighten(&mut self, index: usize) {
        if let Some(from) = self.checker.watches[index].dark.take() {
            self.checker.verdict.dark.push(Spell { address: index, from, until: self.now, talking: 0 });
        }
    }

    /// Whether two MACs answer, and whether their owners could talk about it.
    fn overlap(&self, index: usize) -> (bool, bool) {
        let answering: Vec<_> = self.answering(index).collect();
        let station = |n: usize| self.nodes[n].maps.entries.get(&address(index)).map(|entry| entry.station);
        let (mut overlap, mut talking) = (false, false);
        for (i, a) in answering.iter().enumerate() {
            for b in &answering[i + 1..] {
                if station(*a) != station(*b) {
                    overlap = true;
                    let run = self.nodes[*a].agent_runs() && self.nodes[*b].agent_runs();
                    talking |= run && self.links.both(*a, *b);
                }
            }
        }
        (overlap, talking)
    }

    fn note_overlap(&mut self, index: usize, overlap: bool, talking: bool) {
        let now = self.now;
        let watch = &mut self.checker.watches[index];
        if let Some(since) = watch.talks {
            watch.longest = watch.longest.max(now - since);
        }
        watch.talks = if overlap && talking { watch.talks.or(Some(now)) } else { None };
        match (watch.overlap, overlap) {
            (None, true) => {
                (watch.overlap, watch.longest) = (Some(now), 0);
                self.line(format!("!! address {index} is answered twice"));
            }
            (Some(from), false) => {
                let talking = watch.longest;
                watch.overlap = None;
                self.checker.verdict.overlaps.push(Spell { address: index, from, until: now, talking });
                self.line(format!(
                    "   address {index} is answered once after {:.1} ms",
                    (now - from) as f64 / 1e6
                ));
            }
            _ => {}
        }
    }

    /// Ends the run.
    pub(crate) fn finish(&mut self) -> Verdict {
        self.checker.changed = true;
        self.check();
        for index in 0..self.config.addresses {
            if self.checker.watches[index].overlap.is_some() {
                self.note_overlap(index, false, false);
            }
            if self.answering(index).next().is_none() {
                self.checker.verdict.unanswered.push(index);
            }
            self.lighten(index);
        }
        let fenced = (0..self.nodes.len()).filter(|i| self.nodes[*i].agent_runs() && !self.whole(*i));
        self.checker.verdict.fenced = fenced.collect();
        self.checker.verdict.clone()
    }
}
